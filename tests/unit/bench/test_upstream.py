"""The server that stands for an engine when the gateway is measured, and the clients that read from it."""

import sys

from bench import upstream
from bench.http_client import Target, answering, connected, first_s
from bench.pieces import OLLAMA, OPENAI
from bench.processes import Mesh, free_port

PATHS = {OPENAI: "/v1/chat/completions", OLLAMA: "/api/chat"}


async def test_it_answers_both_dialects_with_as_many_tokens_as_it_is_asked_for(tmp_path):
    port = free_port()
    command = (sys.executable, "-m", "bench.upstream", str(port))
    async with Mesh(tmp_path).running("upstream", command) as process:
        await answering(process, f"http://127.0.0.1:{port}/v1/models", upstream.MODEL)
        for dialect, path in PATHS.items():
            target = Target(port=port, path=path, dialect=dialect, model=upstream.MODEL)
            async with connected(target) as (answer, transport):
                transport.write(target.request(7))
                await answer.done
            answer.pieces.require_whole(7)
            assert await first_s(target, 3) > 0
