"""What `hub-server run` asks of the system before it begins."""

import subprocess
import sys

import pytest

CODE = """
import resource
from hub.cli.run import OPEN_FILES, _want_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, wanted), hard))
_want_open_files()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
_want_open_files()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (128, 128)
print("fine")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_as_many_files_may_be_open_as_there_are_connections_and_no_more_than_the_system_allows():
    said = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=30, check=False
    )
    assert (said.stdout, said.stderr) == ("fine\n", "")
