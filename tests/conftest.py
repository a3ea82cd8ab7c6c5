"""What all tests share: how Hypothesis searches."""

import os

from hypothesis import settings

# No deadline: on a machine that does other work too, a slow example says nothing about the code.
settings.register_profile("here", deadline=None)
# Every run of CI tries the same examples, so that a change fails by its own fault only.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
