"""What all tests share: how Hypothesis searches, and on how many processes they are run."""

import os
import signal

import pytest
from hypothesis import settings

# No deadline: on a machine that does other work too, a slow example says nothing about the code.
settings.register_profile("here", deadline=None)
# Every run of CI tries the same examples, so that a change fails by its own fault only.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# What a script starts in the background ignores Ctrl-C, and so would the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

WORKERS = 2
"""Processes for all tests: many of them start a mesh, and one that measures time needs its share of the machine."""


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Let `./justw test` use several processes, unless few tests were asked for: then it is sooner done in one."""
    few = config.args_source is pytest.Config.ArgsSource.ARGS or config.option.keyword or config.option.lf
    return 0 if few else WORKERS
