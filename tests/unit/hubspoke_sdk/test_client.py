import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime, timedelta

import pytest

from hubspoke.api.inference.v1 import inference_pb2 as pb
from hubspoke.client import MeshClient
from hubspoke.errors import (
    DoesNotFit,
    EngineTruncated,
    InvalidRequest,
    MeshError,
    SpokeLost,
    Unauthenticated,
    Unreachable,
)
from hubspoke.types import (
    Delta,
    Finished,
    FinishReason,
    Message,
    ModelState,
    Request,
    Sampling,
    Speaker,
    Started,
    Usage,
    Waiting,
)
from pki.errors import NotEnrolled
from pki.files import NodeFiles
from tests.fakes.hub import NOWHERE, WAIT_S, FakeHub, MeshOnDisk, answer, hang, hello, refuse, serve_mesh

MANY = 1_000_000
ASK = Request("tiny", messages=(Message(Speaker.USER, "Hello?"),))


async def happens(event) -> bool:
    """Wait for a thread's event without blocking the loop."""
    return await asyncio.to_thread(event.wait, WAIT_S)


async def read(mesh: MeshClient, request: Request = ASK) -> list:
    return [event async for event in mesh.infer(request)]


async def test_events_come_in_the_order_of_the_hub(mesh: MeshOnDisk, app: NodeFiles):
    def waits_first(_request, _hub):
        yield pb.InferResponse(waiting=pb.Waiting(cause=pb.Waiting.CAUSE_LOADING, spoke="den"))
        yield from answer("Hel", "lo")

    with serve_mesh(FakeHub(mesh.hub, waits_first)) as address:
        async with MeshClient(app.directory, [address]) as client:
            events = await read(client)
    assert events == [
        Waiting(spoke="den"),
        Started("den", "tiny", "sha256:aa", queue_s=0.0, attempt=1),
        Delta("Hel", tokens=0),
        Delta("lo", tokens=0),
        Finished(FinishReason.STOP, Usage(prompt_tokens=3, output_tokens=2)),
    ]


async def test_a_request_reaches_the_hub_as_it_was_made(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub)
    deadline = datetime.now(UTC) + timedelta(minutes=5)
    request = Request(
        "tiny",
        prompt="Once",
        sampling=Sampling(temperature=0.0, seed=-1),
        max_output_tokens=9,
        stop=("\n",),
        session_key="s",
    )
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            await client.answer(request, deadline=deadline)
    (asked,) = hub.asked
    assert (asked.model, asked.prompt, asked.stop, asked.session_key) == ("tiny", "Once", ["\n"], "s")
    assert (asked.sampling.temperature, asked.sampling.seed, asked.max_output_tokens) == (0.0, -1, 9)
    assert asked.deadline.ToDatetime(UTC) == deadline


async def test_an_answer_gathers_its_text(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with MeshClient(app.directory, [address]) as client:
            whole = await client.answer(ASK)
    assert (whole.text, whole.started.spoke, whole.finished.usage.output_tokens) == ("Hello", "den", 2)


async def test_a_refusal_keeps_its_kind_its_sentence_and_its_figures(mesh: MeshOnDisk, app: NodeFiles):
    refusal = DoesNotFit("needs 7.9 GiB, largest free is 6.4 on den", needed_bytes=7_900)
    with serve_mesh(FakeHub(mesh.hub, refuse(refusal))) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(DoesNotFit) as caught:
                await client.answer(ASK)
    assert caught.value.message == refusal.message
    assert caught.value.figures == {"needed_bytes": "7900"}


async def test_a_refused_list_is_typed_too(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub, refuses=Unauthenticated("join again"))) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(Unauthenticated, match="join again"):
                await client.models()


async def test_a_failure_that_the_hub_explains_is_not_asked_again(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, refuse(SpokeLost("den went away with the work")))
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(SpokeLost):
                await client.answer(ASK)
    assert len(hub.asked) == 1


async def test_an_answer_without_an_end_is_an_error(mesh: MeshOnDisk, app: NodeFiles):
    def breaks_off(_request, _hub):
        yield pb.InferResponse(delta=pb.Delta(text="Once upon"))

    with serve_mesh(FakeHub(mesh.hub, breaks_off)) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(EngineTruncated):
                await read(client)


async def test_closing_the_answer_ends_the_call_at_the_hub(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, hang)
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            async with aclosing(client.infer(ASK)) as events:
                await anext(events)
            assert await happens(hub.cancelled)


async def test_cancelling_whoever_reads_ends_the_call_at_the_hub(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, hang)
    begun = asyncio.Event()

    async def reader(client: MeshClient) -> None:
        async for _ in client.infer(ASK):
            begun.set()

    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            reading = asyncio.create_task(reader(client))
            await asyncio.wait_for(begun.wait(), WAIT_S)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await happens(hub.cancelled)


async def test_a_silent_hub_is_left_at_the_deadline(mesh: MeshOnDisk, app: NodeFiles):
    hub = FakeHub(mesh.hub, hang)
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(MeshError, match="deadline"):
                await client.answer(ASK, deadline=datetime.now(UTC))


async def test_a_dead_first_address_is_passed_over(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with MeshClient(app.directory, [NOWHERE, address]) as client:
            assert (await client.answer(ASK)).text == "Hello"


async def test_the_next_call_finds_another_hub_when_one_has_gone(mesh: MeshOnDisk, app: NodeFiles):
    second = FakeHub(mesh.hub)
    with serve_mesh(second) as second_address, ExitStack() as first:
        first_address = first.enter_context(serve_mesh(FakeHub(mesh.hub)))
        async with MeshClient(app.directory, [first_address, second_address]) as client:
            await client.models()
            first.close()
            assert (await client.answer(ASK)).text == "Hello"
            await client.models()
    assert len(second.asked) == 1


async def test_an_answer_that_has_begun_is_not_asked_again_elsewhere(mesh: MeshOnDisk, app: NodeFiles):
    second = FakeHub(mesh.hub)
    with serve_mesh(second) as second_address, ExitStack() as first:
        first_address = first.enter_context(serve_mesh(FakeHub(mesh.hub, hang)))
        addresses = [first_address, second_address]
        async with MeshClient(app.directory, addresses) as client, aclosing(client.infer(ASK)) as events:
            await anext(events)
            await asyncio.to_thread(first.close)
            with pytest.raises(MeshError):
                await anext(events)
    assert second.asked == []


async def test_a_certificate_that_has_ended_is_said_when_no_hub_gives_a_new_one(ended_app: NodeFiles):
    with pytest.raises(Unreachable, match=r"certificate of 'laptop' has ended, and no hub gives a new one"):
        async with MeshClient(ended_app.directory):
            pass


async def test_a_directory_without_an_identity_says_what_to_do(tmp_path):
    with pytest.raises(NotEnrolled, match="join with a token"):
        async with MeshClient(tmp_path):
            pass


async def test_errors_of_the_callers_own_block_come_out_as_they_are(mesh: MeshOnDisk, app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub)) as address, pytest.raises(LookupError, match="mine"):
        async with MeshClient(app.directory, [address]):
            raise LookupError("mine")


async def test_models_are_listed_with_what_is_known_of_them(mesh: MeshOnDisk, app: NodeFiles):
    summary = pb.ModelSummary(key="sha256:aa", names=["tiny"], size_bytes=1, capabilities=[1])
    summary.replicas.add(spoke="den", state=3, slots=2, busy=1, decode_tokens_per_second=45.5)
    with serve_mesh(FakeHub(mesh.hub, models=[summary])) as address:
        async with MeshClient(app.directory, [address]) as client:
            (model,) = await client.models()
    (replica,) = model.replicas
    assert (model.key, model.names) == ("sha256:aa", ("tiny",))
    assert (replica.state, replica.decode_tokens_per_s, replica.load_s) == (ModelState.LOADED, 45.5, None)


async def test_a_due_certificate_is_renewed_before_the_first_call(mesh: MeshOnDisk, old_app: NodeFiles):
    before = old_app.load_identity().serial
    with serve_mesh(FakeHub(mesh.hub)) as address:
        async with MeshClient(old_app.directory, [address]):
            after = old_app.load_identity().serial
    assert after != before
    assert not old_app.next_key.exists()


async def test_a_renewal_that_fails_does_not_keep_anybody_from_asking(mesh: MeshOnDisk, old_app: NodeFiles):
    with serve_mesh(FakeHub(mesh.hub, loses_replies=MANY)) as address:
        async with MeshClient(old_app.directory, [address]) as client:
            assert (await client.answer(ASK)).text == "Hello"


async def test_a_renewal_leaves_the_answer_alone_that_is_being_read(
    mesh: MeshOnDisk, old_app: NodeFiles, renewed: threading.Event
):
    def outlasts_a_renewal(_request, hub: FakeHub):
        hub.loses_replies = 0
        yield pb.InferResponse(delta=pb.Delta(text="before"))
        assert renewed.wait(WAIT_S)
        yield from answer("after")

    before = old_app.load_identity().serial
    hub = FakeHub(mesh.hub, outlasts_a_renewal, loses_replies=MANY)
    with serve_mesh(hub) as address:
        # Chance 0 makes every back-off 0 s long.
        async with MeshClient(old_app.directory, [address], chance=lambda: 0.0) as client:
            texts = [event.text async for event in client.infer(ASK) if isinstance(event, Delta)]
            hub.script = hello
            assert (await client.answer(ASK)).text == "Hello"
    assert texts == ["before", "after"]
    assert old_app.load_identity().serial != before


@pytest.fixture
def renewed() -> Iterator[threading.Event]:
    """Set when the client says that a new certificate is in use."""
    event = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "renewed":
                event.set()

    log, listener = logging.getLogger("hubspoke.renewal"), Listener()
    level = log.level
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    yield event
    log.removeHandler(listener)
    log.setLevel(level)


@pytest.mark.parametrize(
    "request_",
    [
        Request("tiny", messages=(Message(Speaker.USER, "caf\udce9"),)),
        Request("tiny", prompt="x", max_output_tokens=-1),
        Request("tiny", prompt="x", sampling=Sampling(seed=1 << 70)),
    ],
)
async def test_what_no_message_can_hold_is_an_invalid_request(
    mesh: MeshOnDisk, app: NodeFiles, request_: Request
):
    hub = FakeHub(mesh.hub)
    with serve_mesh(hub) as address:
        async with MeshClient(app.directory, [address]) as client:
            with pytest.raises(InvalidRequest):
                await client.answer(request_)
    assert hub.asked == []
