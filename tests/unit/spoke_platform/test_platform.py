import sys

from spoke.platform import here


def test_only_windows_is_different():
    assert here().has_unix_sockets == (sys.platform != "win32")
