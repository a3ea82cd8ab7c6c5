"""Install the built wheel into a clean virtual environment, and run a whole mesh from there: hub, spoke, a question."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
SPOKE = "den"
MODEL = "tiny"
SHIPPED = {"nano", "tiny"}

INSTALL_TIMEOUT_S = 300
COMMAND_TIMEOUT_S = 60
READY_TIMEOUT_S = 60
"""For a program to do what it was started for."""
END_TIMEOUT_S = 20
POLL_S = 0.2


def main() -> None:
    """Check dist/; raise SystemExit with a sentence when something is wrong."""
    wheels = sorted((ROOT / "dist").glob("*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"wheel-check: expected one wheel in dist/, found {len(wheels)}; run `just build`")
    with tempfile.TemporaryDirectory(prefix="hubspoke-wheel-") as scratch:
        installed = Installed(Path(scratch))
        installed.install(wheels[0])
        for command in ("hubspoke", "hub-server", "spoke-agent"):
            installed.run(command, "--help")
        installed.run("hubspoke", "version")
        installed.require("share/hubspoke/systemd/hubspoke-hub.service")
        ask_a_mesh(installed)


def ask_a_mesh(installed: Installed) -> None:
    """Do what the README has people do, from the first key to an answer."""
    mesh_port, enrol_port = free_ports()
    ports = ("--mesh-port", str(mesh_port), "--enrol-port", str(enrol_port))
    installed.run("hubspoke", "pki", "init", "--no-passphrase", "--host", HOST, *ports)
    with installed.running("hub-server", "--listen", HOST, *ports) as hub:
        wait_for_port(hub, mesh_port)
        token = installed.run("hubspoke", "token", "create", SPOKE, "--role", "spoke")
        installed.run("spoke-agent", "join", stdin=token)
        with installed.running("spoke-agent") as agent:
            wait_for_spoke(installed, agent)
            said = installed.run("hubspoke", "ask", MODEL, "capital of france")
            if said.strip() != "Paris":
                raise SystemExit(f"wheel-check: the capital of France is {said!r}")
    print("wheel-check: a mesh from the wheel has answered")


class Installed:
    """What the wheel brings, in a virtual environment in *scratch*; nothing there knows of the source tree."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._programs = scratch / "venv" / "bin"
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("HUBSPOKE_")}
        inherited.pop("PYTHONPATH", None)
        self._environment = {
            **inherited,
            "HUBSPOKE_STATE_DIR": str(scratch / "state"),
            "HUBSPOKE_HUB_ADVERTISE": HOST,
        }

    def install(self, wheel: Path) -> None:
        """Install *wheel* with the versions that were tested, not whatever is newest today."""
        requirements = self._scratch / "requirements.txt"
        export = (
            "uv",
            "export",
            "--quiet",
            "--locked",
            "--no-dev",
            "--no-emit-project",
            "--project",
            str(ROOT),
        )
        install = ("uv", "pip", "install", "--quiet", "--python", str(self._programs / "python"))
        for command in (
            ("uv", "venv", "--quiet", str(self._programs.parent)),
            (*export, "--output-file", str(requirements)),
            (*install, "-r", str(requirements)),
            (*install, "--no-deps", str(wheel)),
        ):
            self._finish(command, INSTALL_TIMEOUT_S)

    def require(self, path: str) -> None:
        """Raise SystemExit unless the wheel has brought the file *path*."""
        if not (self._programs.parent / path).is_file():
            raise SystemExit(f"wheel-check: the wheel does not bring {path}")

    def run(self, program: str, *arguments: str, stdin: str = "") -> str:
        """Run an installed program to its end and give what it wrote to standard output."""
        return self._finish((str(self._programs / program), *arguments), COMMAND_TIMEOUT_S, stdin)

    @contextmanager
    def running(self, program: str, *arguments: str) -> Iterator[Program]:
        """Run an installed program for as long as the block lasts; show its log when the block fails."""
        log = self._scratch / f"{program}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self._programs / program), *arguments],
                cwd=self._scratch,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        started = Program(program, process)
        try:
            yield started
            started.end()
        except (SystemExit, subprocess.TimeoutExpired):
            print(log.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _finish(self, command: tuple[str, ...], timeout_s: float, stdin: str = "") -> str:
        result = subprocess.run(
            command,
            cwd=self._scratch,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        words = " ".join((Path(command[0]).name, *command[1:]))
        if result.returncode != 0:
            print(result.stdout, result.stderr, sep="\n", file=sys.stderr)
            raise SystemExit(f"wheel-check: {words} exited with {result.returncode}")
        print(f"wheel-check: {words}: ok")
        return result.stdout


class Program:
    """A program that is to run until it is told to end."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self._process = process

    def check(self) -> None:
        """Raise SystemExit when it has ended by itself."""
        if self._process.poll() is not None:
            raise SystemExit(f"wheel-check: {self.name} ended with {self._process.returncode}")

    def end(self) -> None:
        """Have it end by itself; raise SystemExit unless it ends well."""
        self.check()
        self._process.terminate()
        if self._process.wait(END_TIMEOUT_S) != 0:
            raise SystemExit(
                f"wheel-check: {self.name} was asked to end, and ended with {self._process.returncode}"
            )


def free_ports() -> tuple[int, int]:
    """Find two ports that nobody listens on now."""
    with socket.socket() as mesh, socket.socket() as enrolment:
        mesh.bind((HOST, 0))
        enrolment.bind((HOST, 0))
        return mesh.getsockname()[1], enrolment.getsockname()[1]


def wait_for_port(hub: Program, port: int) -> None:
    """Wait until the hub listens."""
    for _ in tries(hub, "listen"):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return


def wait_for_spoke(installed: Installed, agent: Program) -> None:
    """Wait until the hub's own list has the spoke, ready, with every model that the wheel brings."""
    for _ in tries(agent, "offer its models"):
        for spoke in json.loads(installed.run("hubspoke", "status", "--json"))["spokes"]:
            models = {model["name"] for model in spoke["inventory"]["models"]}
            if (
                (spoke["name"], spoke["state"]) == (SPOKE, "ready")
                and spoke["slots"] > 0
                and models >= SHIPPED
            ):
                return


def tries(program: Program, what: str) -> Iterator[None]:
    """Give a try now and then, until *program* has ended or its time is over, which raises SystemExit."""
    until = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < until:
        program.check()
        yield
        time.sleep(POLL_S)
    raise SystemExit(f"wheel-check: {program.name} did not {what} within {READY_TIMEOUT_S} s")


if __name__ == "__main__":
    main()
