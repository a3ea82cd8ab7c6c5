"""The programs that the demo starts: found, watched, and ended whatever happens."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, TypedDict

import psutil

from examples.demo.waiting import POLL_S, WAIT_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

END_TIMEOUT_S: Final = 5.0
LOG_LINES_TOLD: Final = 12
LOG_BYTES_READ: Final = 16 * 1024
OWN_VARIABLES: Final = "HUBSPOKE_"
"""What this user has set for a real mesh is none of the demo's business."""


class Failure(Exception):
    """The demo cannot go on: what happened, whose log may say why, and what to do."""

    def __init__(self, message: str, *, advice: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.log = log


@dataclass(slots=True)
class Program:
    """A running program, and where its standard error goes."""

    name: str
    process: psutil.Popen
    log: Path
    is_meant_to_end: bool = False
    _orphans: list[psutil.Process] = field(default_factory=list)

    def freeze(self) -> None:
        """Stop it in the middle of everything, without closing anything."""
        self.process.suspend()

    def kill(self) -> None:
        """End it at once and without a word."""
        self.is_meant_to_end = True
        self._orphans = self.process.children(recursive=True)
        self.process.kill()

    async def gone(self) -> None:
        """Wait until it has ended after a `kill`, and what it had started has noticed and ended too."""
        await _until_ended((self.process, *self._orphans), self)


class Programs:
    """Starts programs in *directory*; as a context, ends all of them and what they have started."""

    def __init__(self, directory: Path) -> None:
        self._logs = directory / "logs"
        self._logs.mkdir()
        self._started: list[Program] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs: politely for `END_TIMEOUT_S`, then for certain; a second Ctrl-C skips the politeness."""
        family = psutil.Process().children(recursive=True)
        try:
            # The newest first: a hub that goes before its spokes would wait for them.
            for program in reversed(self._started):
                _ask_to_end(program.process)
                psutil.wait_procs(list(_family(program.process)), timeout=END_TIMEOUT_S)
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=END_TIMEOUT_S)

    def start(self, name: str, command: Sequence[str], variables: Mapping[str, str]) -> Program:
        """Start *command*, which is to run until it is stopped."""
        log = self._log(name)
        with log.open("ab") as stderr:
            process = psutil.Popen(
                _found(command),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=_environment(variables),
                **_detached(),
            )
        program = Program(name, process, log)
        self._started.append(program)
        return program

    async def run(
        self, name: str, command: Sequence[str], variables: Mapping[str, str], stdin: str = ""
    ) -> str:
        """Run *command* to its end and give what it wrote to standard output; raise Failure unless it worked."""
        log = self._log(name)
        output = log.with_suffix(".out")
        with output.open("wb") as stdout, log.open("wb") as stderr:
            process = psutil.Popen(
                _found(command),
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=stderr,
                env=_environment(variables),
                **_detached(),
            )
        program = Program(name, process, log, is_meant_to_end=True)
        self._started.append(program)
        with suppress(BrokenPipeError):  # it has ended already, and its exit status says more
            process.stdin.write(stdin.encode())
            process.stdin.close()
        await _until_ended((process,), program)
        if process.returncode != 0:
            raise _ended(program)
        return output.read_text(encoding="utf-8")

    async def watch(self) -> NoReturn:
        """Raise Failure as soon as a program ends that should not have."""
        while True:
            failure = self.casualty()
            if failure is not None:
                raise failure
            await asyncio.sleep(POLL_S)

    def casualty(self) -> Failure | None:
        """Give the failure of a program that has ended and should not have, if there is one."""
        for program in self._started:
            if not program.is_meant_to_end and program.process.poll() is not None:
                return _ended(program)
        return None

    def overdue(self, name: str, awaited: str) -> Failure:
        """Make the failure of the program *name* that did not get as far as *awaited* in time."""
        return _overdue(name, awaited, self._log(name))

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '-')}.log"


def last_lines(log: Path) -> tuple[str, ...]:
    """Give the end of a log; nothing when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES_READ))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    return tuple(text.splitlines()[-LOG_LINES_TOLD:])


def _overdue(name: str, awaited: str, log: Path) -> Failure:
    return Failure(
        f"{name} did not {awaited} within {WAIT_S:g} s",
        advice="Is this machine very busy? Try again when it is not.",
        log=log,
    )


def _ended(program: Program) -> Failure:
    return Failure(
        f"{program.name} ended with exit status {program.process.returncode}",
        advice="If the lines above do not say what to do, run `./justw setup` and try again.",
        log=program.log,
    )


def _found(command: Sequence[str]) -> list[str]:
    """Put the path of the program that was installed beside this Python in front."""
    path = shutil.which(command[0], path=sysconfig.get_path("scripts"))
    if path is None:
        raise Failure(
            f"{command[0]} is not installed beside {sys.executable}",
            advice="Start the demo with `./justw demo`, which installs everything first.",
        )
    return [path, *command[1:]]


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    return {**inherited, **variables}


class _Detachment(TypedDict, total=False):
    start_new_session: bool
    creationflags: int


def _detached() -> _Detachment:
    """Keep the terminal's Ctrl-C from a program: the demo hears it, and ends what it has started in good order."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


async def _until_ended(processes: Sequence[psutil.Process], program: Program) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            await until(lambda: not any(_is_alive(process) for process in processes))
    except TimeoutError as error:
        raise _overdue(program.name, "end", program.log) from error


def _is_alive(process: psutil.Process) -> bool:
    if isinstance(process, psutil.Popen):
        return process.poll() is None
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ask_to_end(process: psutil.Popen) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()  # one that is frozen would not hear it
        process.terminate()


def _family(process: psutil.Popen) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        yield from process.children(recursive=True)
    yield process
