"""A network that nobody else is in: what runs there can neither reach another machine nor be reached from one."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Final

NEW_USER: Final = 0x1000_0000
NEW_NETWORK: Final = 0x4000_0000
"""CLONE_NEWUSER and CLONE_NEWNET in Linux's sched.h."""
SET_FLAGS: Final = 0x8914
"""SIOCSIFFLAGS in Linux's sockios.h."""
UP: Final = 0x1
MULTICAST: Final = 0x1000
"""IFF_UP and IFF_MULTICAST in Linux's if.h; mDNS needs the second one."""


def enter() -> str:
    """Move this process, before it has any thread, and all that it starts from now on into a network of its own.

    Give why that is not possible, or nothing. The network has the loopback and nothing else.
    """
    if sys.platform != "linux":
        return "needs Linux"
    is_root, user, group = os.geteuid() == 0, os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK if is_root else NEW_NETWORK | NEW_USER) != 0:
        return f"no network of its own here: {os.strerror(ctypes.get_errno())}"
    try:
        if not is_root:
            _stay(user, group)
        _loopback_up()
    except OSError as error:
        return f"no network of its own here: {error.strerror}"
    return ""


def _stay(user: int, group: int) -> None:
    """Be the same user inside the new namespace of users."""
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{user} {user} 1")
    (own / "gid_map").write_text(f"{group} {group} 1")


def _loopback_up() -> None:
    import fcntl  # noqa: PLC0415  # does not exist on Windows

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH22x", b"lo", UP | MULTICAST))
