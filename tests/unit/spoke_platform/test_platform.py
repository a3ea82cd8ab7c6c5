import platform
import sys

from spoke.platform import here


def test_only_windows_is_different():
    assert here().has_unix_sockets == (sys.platform != "win32")


def test_only_macs_with_apples_own_chip_have_its_gpu():
    assert here().has_apple_gpu == (sys.platform == "darwin" and platform.machine() == "arm64")
