import signal
import subprocess
import sys

import pytest

from hubspoke.cli.failures import Exit
from tests.fakes.hub import WAIT_S, FakeHub, MeshOnDisk, hang, serve_mesh

HUBSPOKE = (sys.executable, "-c", "from hubspoke.cli import main; main()")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_stops_the_work_and_ends_quietly(mesh: MeshOnDisk):
    hub = FakeHub(mesh.hub, hang)
    with serve_mesh(hub) as address:
        arguments = ("ask", "tiny", "x", "--state-dir", str(mesh.admin.directory.parent), "--hub", address)
        with subprocess.Popen(
            [*HUBSPOKE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as asking:
            assert asking.stdout.read(len("Once upon")) == "Once upon"
            asking.send_signal(signal.SIGINT)
            _, errors = asking.communicate(timeout=WAIT_S)
        assert hub.cancelled.wait(WAIT_S)
    assert asking.returncode == Exit.INTERRUPTED
    assert errors.strip() == ""
