"""llama.cpp as a spoke runs it: the engine's own child process, asked over HTTP on loopback."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.request import Request, urlopen

Json: TypeAlias = Mapping[str, "Json"] | list["Json"] | str | int | float | bool | None

CONTEXT_TOKENS = 2048
ANSWER_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A running llama-server."""

    url: str
    api_key: str

    def post(self, path: str, body: Json) -> dict[str, Json]:
        """Send *body* and return the answer; raise HTTPError where it is refused."""
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        request = Request(self.url + path, json.dumps(body).encode(), headers)
        with urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
            answered: dict[str, Json] = json.load(answer)
        return answered


@contextmanager
def serve(path: Path) -> Iterator[Server]:
    """Load *path* with one slot on one thread, until the block ends."""
    key = secrets.token_hex()
    order = {
        "type": "Serve",
        "model": path.stem,
        "path": str(path),
        "slots": 1,
        "context_tokens": CONTEXT_TOKENS,
        "threads": 1,
        "api_key": key,
    }
    command = [sys.executable, "-m", "spoke.engines.llamacpp.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(order).encode() + b"\n")
        child.stdin.flush()
        yield Server(json.loads(child.stdout.readline())["url"], key)
        child.stdin.close()
