"""Models by hand: pulled and deleted. What changes the models of the mesh takes a key that may do so, also on this machine."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from hub.gateway.ollama.bodies import model_name
from hub.gateway.ollama.lines import line
from hub.gateway.ollama.telling import Telling
from hub.gateway.parsing import parse
from hubspoke.errors import Unsupported
from hubspoke.types import Pulling

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.app import Handler
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front

SUCCESS: Final = {"status": "success"}


class DeleteBody(msgspec.Struct):
    """The body of `/api/delete`."""

    model: str | None = None
    name: str | None = None


class PullBody(msgspec.Struct):
    """The body of `/api/pull`."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None


async def pull(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Get a model onto the disk of the spoke with most memory to give; a client that goes away ends that."""
    principal.require_models_write()
    body = parse(await exchange.body(), PullBody)
    telling = Telling(exchange)
    is_told = body.stream is not False
    model = model_name(body.model, body.name)
    front.note("model.pull", principal, model)
    await telling.follow(_pull(front, model, telling, is_told=is_told))
    await telling.conclude(SUCCESS)


async def delete(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Delete a model from the disk of every spoke that has it. It goes on when the client goes away."""
    principal.require_models_write()
    body = parse(await exchange.body(), DeleteBody)
    await front.delete(principal, model_name(body.model, body.name))
    await exchange.respond(200, b"")


def refused(why: str) -> Handler:
    """Give what answers a route that this mesh does not have, and says *why*."""

    async def refuse(_front: Front, _exchange: Exchange, principal: Principal) -> None:
        """Refuse."""
        principal.require_models_write()
        raise Unsupported(why)

    return refuse


create: Final = refused("models cannot be made from here; make it with the engine of a spoke")
copy: Final = refused("models cannot be copied from here; set an alias in gateway.aliases for another name")
push: Final = refused("models cannot be published from here; do that with the engine of a spoke")
blobs: Final = refused("files cannot be sent to spokes yet; put the file into the models of a spoke")


async def _pull(front: Front, model: str, telling: Telling, *, is_told: bool) -> None:
    async with aclosing(front.upkeep.pull(model, None)) as events:
        async for event in events:
            if is_told and isinstance(event, Pulling):
                await telling.say(line(_progress(event)))


def _progress(event: Pulling) -> dict[str, object]:
    told: dict[str, object] = {"status": event.step, "hubspoke": {"spoke": event.spoke}}
    if not event.total_bytes:
        return told
    # Clients tell the bars of several files apart by the digest, which an engine names in its own words.
    digest = event.step.removeprefix("pulling ")
    return {**told, "digest": digest, "total": event.total_bytes, "completed": event.completed_bytes}
