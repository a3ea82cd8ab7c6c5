"""Whatever can cross the wire, drawn by Hypothesis."""

import json
import math
from datetime import UTC, datetime

from hypothesis import strategies as st

from hubspoke.errors import (
    STATUS,
    RequestError,
    SessionError,
    SpokeError,
)
from hubspoke.types import (
    Calling,
    Capability,
    Delta,
    Effort,
    Embeddings,
    EmbedRequest,
    EngineInfo,
    Finished,
    FinishReason,
    Gpu,
    GpuKind,
    GpuProcess,
    HostMemory,
    Image,
    InMemory,
    Inventory,
    JsonFormat,
    Loaded,
    Loading,
    LoadPlan,
    MemoryPool,
    Message,
    Model,
    ModelState,
    ModelSummary,
    Place,
    Priority,
    Pulled,
    Pulling,
    Replica,
    Request,
    Sampling,
    Speaker,
    SpokeState,
    SpokeStatus,
    Started,
    Tool,
    ToolCall,
    ToolCallPart,
    ToolChoice,
    Usage,
    Waiting,
)
from hubspoke.wire import allowed, inventory

# Surrogates have no UTF-8, so no protobuf string can hold one.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
some_text = texts.filter(bool)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
uint32s = st.integers(0, (1 << 32) - 1)
int64s = st.integers(-(1 << 63), (1 << 63) - 1)
uint64s = st.integers(0, (1 << 64) - 1)
sizes = st.integers(0, inventory.BYTES_MAX)
contexts = st.integers(1, inventory.CONTEXT_TOKENS_MAX)
slots = st.integers(1, inventory.SLOTS_MAX)
faults = texts.filter(str.isprintable)
# In 512ths of a second: whole nanoseconds, and exact as a float. What gets lost beyond that, the durations below show.
seconds = st.integers(0, 10**9).map(lambda parts: parts / 512)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  # as Hypothesis wants them
garbage = st.binary(max_size=200)

gpus = st.builds(
    Gpu,
    index=st.integers(0, 63),
    kind=st.sampled_from(GpuKind),
    name=names,
    uuid=st.just("") | names,
    memory_total_bytes=st.none() | uint64s,
    memory_free_bytes=st.none() | uint64s,
    utilisation_percent=st.none() | st.integers(0, 100),
    temperature_celsius=st.none() | st.integers(-50, 150),
    fault=faults,
    memory_used_bytes=st.none() | uint64s,
    processes=st.lists(st.builds(GpuProcess, pid=uint32s, memory_bytes=st.none() | uint64s), max_size=3).map(
        tuple
    ),
)
engines = st.builds(
    EngineInfo,
    name=names,
    version=st.just("") | names,
    fault=faults,
    gpus=st.lists(st.integers(0, 63), max_size=4).map(tuple),
    pulls=st.booleans(),
)
loaded = st.builds(
    Loaded, slots=slots, context_tokens=contexts, memory_bytes=sizes, vram_bytes=st.none() | uint64s
)
capabilities = st.frozensets(st.sampled_from(Capability), min_size=1)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Draw a model that is loaded exactly when its state says so."""
    state = draw(st.sampled_from(ModelState))
    return Model(
        engine=draw(names),
        name=draw(names),
        digest=draw(st.just("") | digests),
        size_bytes=draw(sizes),
        family=draw(st.just("") | names),
        quantisation=draw(st.just("") | names),
        parameters=draw(uint64s),
        context_tokens_max=draw(st.just(0) | contexts),
        kv_bytes_per_token=draw(sizes),
        capabilities=draw(capabilities),
        plan=LoadPlan(draw(slots), draw(contexts)),
        state=state,
        loaded=draw(loaded) if state is ModelState.LOADED else None,
    )


inventories = st.builds(
    Inventory,
    memory=st.builds(HostMemory, total_bytes=sizes, available_bytes=sizes),
    gpus=st.lists(gpus, max_size=3).map(tuple),
    engines=st.lists(engines, max_size=3).map(tuple),
    models=st.lists(models(), max_size=3).map(tuple),
)

tool_names = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)
objects = st.dictionaries(texts, st.none() | st.booleans() | int64s | texts, max_size=3).map(json.dumps)
pictures = st.builds(
    lambda magic, rest: Image(magic + rest),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP"]),
    st.binary(max_size=20),
)
calls = st.builds(ToolCall, name=tool_names, arguments=objects, id=texts)
messages = st.one_of(
    st.builds(Message, speaker=st.just(Speaker.SYSTEM), text=some_text),
    st.builds(Message, speaker=st.just(Speaker.USER), text=some_text),
    st.builds(
        Message,
        speaker=st.just(Speaker.USER),
        text=texts,
        images=st.lists(pictures, min_size=1, max_size=2).map(tuple),
    ),
    st.builds(
        Message,
        speaker=st.just(Speaker.ASSISTANT),
        text=texts,
        thinking=texts,
        tool_calls=st.lists(calls, max_size=2).map(tuple),
    ),
    st.builds(Message, speaker=st.just(Speaker.TOOL), text=texts, tool_name=tool_names, tool_call_id=texts),
)
penalties = st.none() | st.floats(-allowed.PENALTY_MAX, allowed.PENALTY_MAX, width=32)
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, allowed.TEMPERATURE_MAX, width=32),
    top_p=st.none() | st.floats(0, 1, width=32, exclude_min=True),
    top_k=st.none() | st.integers(1, (1 << 32) - 1),
    min_p=st.none() | st.floats(0, 1, width=32),
    seed=st.none() | int64s,
    frequency_penalty=penalties,
    presence_penalty=penalties,
    repeat_penalty=st.none() | st.floats(0, allowed.REPEAT_PENALTY_MAX, width=32, exclude_min=True),
)
tools = st.lists(
    st.builds(Tool, name=tool_names, description=texts, parameters=st.just("") | objects),
    min_size=1,
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)


@st.composite
def with_tools(draw: st.DrawFn) -> dict[str, object]:
    """Draw tools, and whether they have to be called."""
    drawn = draw(tools)
    mode = draw(st.sampled_from(Calling))
    named = st.sampled_from([tool.name for tool in drawn]) if mode is Calling.REQUIRED else st.just("")
    return {
        "tools": drawn,
        "tool_choice": ToolChoice(mode, draw(st.just("") | named), draw(st.none() | st.booleans())),
    }


stops = st.lists(some_text, max_size=allowed.STOPS_MAX).map(tuple)
common = {
    "model": some_text,
    "sampling": samplings,
    "max_output_tokens": uint32s,
    "stop": stops,
    "priority": st.sampled_from(Priority),
    "session_key": texts,
    "format": st.none() | st.builds(JsonFormat, schema=st.just("") | objects),
}


@st.composite
def conversations(draw: st.DrawFn) -> Request:
    """Draw a question that is a conversation."""
    turns = tuple(draw(st.lists(messages, min_size=1, max_size=4)))
    more = draw(st.just({}) | with_tools())
    drawn = {name: draw(strategy) for name, strategy in common.items()}
    return Request(messages=turns, thinking=draw(st.none() | st.sampled_from(Effort)), **drawn, **more)


asks = conversations() | st.builds(Request, prompt=some_text, **common)
TURN = Message(Speaker.USER, "hello")
CALL = ToolCall("f", "{}")
bad_turns = st.sampled_from([
    Message(Speaker.USER, ""),
    Message(Speaker.USER, "x", images=(Image(b"none"),)),
    Message(Speaker.USER, "x", images=(Image(b"GIF89a"),) * 33),
    Message(Speaker.SYSTEM, "x", images=(Image(b"GIF89a"),)),
    Message(Speaker.USER, "x", thinking="hm"),
    Message(Speaker.ASSISTANT, "", tool_calls=(ToolCall("no name", "{}"),)),
    Message(Speaker.ASSISTANT, "", tool_calls=(ToolCall("f", "[]"),)),
    Message(Speaker.ASSISTANT, "", tool_calls=(ToolCall("f", "{}", "x" * 257),)),
    Message(Speaker.ASSISTANT, "", tool_calls=(CALL,) * 129),
    Message(Speaker.TOOL, "x"),
    Message(Speaker.TOOL, "x", tool_name="no name"),
    Message(Speaker.TOOL, "x", tool_name="f", tool_call_id="x" * 257),
    Message(Speaker.USER, "x", tool_call_id="1"),
])  # fmt: skip
spoilt = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["", "x" * 257]),
        "prompt": st.sampled_from(["", "x"]),
        "messages": st.just(()) | st.tuples(bad_turns) | st.tuples(st.just(TURN), bad_turns),
        "sampling": st.sampled_from([
            Sampling(temperature=5.5), Sampling(top_p=0.0), Sampling(top_k=0), Sampling(min_p=-0.5),
            Sampling(frequency_penalty=2.5), Sampling(presence_penalty=-2.5), Sampling(repeat_penalty=math.nan),
        ]),
        "stop": st.sampled_from([("",), ("x",) * 17, ("x" * 257,)]),
        "session_key": st.just("x" * 257),
        "tools": st.sampled_from([(), (Tool("f"),), (Tool("f"), Tool("f")), (Tool("no name"),), (Tool("f", "", "[]"),)]),
        "tool_choice": st.builds(ToolChoice, st.sampled_from(Calling), st.sampled_from(["", "f", "g"])),
        "format": st.sampled_from([JsonFormat("[]"), JsonFormat("no JSON"), JsonFormat('{"type": 5}')]),
        "thinking": st.sampled_from(Effort),
    },
)  # fmt: skip
"""Fields to put in place of a request's own, each of which may be wrong by itself or beside the others."""
embed_asks = st.builds(
    EmbedRequest,
    model=some_text,
    inputs=st.lists(some_text, min_size=1, max_size=3).map(tuple),
    dimensions=st.integers(0, allowed.DIMENSIONS_MAX),
    priority=st.sampled_from(Priority),
)
usages = st.builds(
    Usage,
    prompt_tokens=uint32s,
    output_tokens=uint32s,
    cached_tokens=st.none() | uint32s,
    prompt_s=st.none() | seconds,
    decode_s=st.none() | seconds,
)
finishes = st.builds(Finished, reason=st.sampled_from(FinishReason), usage=usages, stop=texts)
starts = st.builds(
    Started,
    spoke=names,
    model=names,
    model_key=names,
    queue_s=seconds,
    attempt=st.integers(1, 1_000),
    also_named=st.lists(names, max_size=3).map(tuple),
)
waits = st.builds(
    Waiting, spoke=st.none() | names, elapsed_s=st.none() | seconds, expected_s=st.none() | seconds
) | st.builds(Waiting, spoke=names, silent_s=seconds)
pieces = st.lists(some_text, min_size=1, max_size=4)
deltas = st.one_of(
    st.builds(Delta, text=texts, tokens=st.just(0)),
    st.builds(Delta, thinking=some_text, tokens=st.just(0)),
    pieces.map(lambda some: Delta("".join(some), 0, piece_lengths=tuple(map(len, some)))),
    pieces.map(lambda some: Delta(thinking="".join(some), tokens=0, piece_lengths=tuple(map(len, some)))),
    st.builds(
        Delta,
        tool_calls=st.lists(
            st.builds(ToolCallPart, index=uint32s, id=texts, name=texts, arguments=texts),
            min_size=1,
            max_size=3,
        ).map(tuple),
        tokens=st.just(0),
    ),
)
vectors = st.builds(
    Embeddings,
    first=uint32s,
    vectors=st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(tuple), max_size=3).map(
        tuple
    ),
)
places = st.builds(Place, names, names)
load_events = st.builds(Loading, spoke=names, elapsed_s=seconds, expected_s=seconds) | st.builds(
    InMemory,
    spoke=names,
    place=places,
    slots=uint32s,
    context_tokens=uint32s,
    memory_bytes=uint64s,
    pinned=st.booleans(),
)
pull_events = st.builds(
    Pulling, spoke=names, step=texts, completed_bytes=uint64s, total_bytes=uint64s
) | st.builds(Pulled, spoke=names, place=places)

replicas = st.builds(
    Replica,
    spoke=names,
    state=st.sampled_from(ModelState),
    slots=uint32s,
    busy=uint32s,
    decode_tokens_per_s=st.none() | st.floats(0, 1e6),
    load_s=st.none() | seconds,
    engine=names,
    context_tokens=uint32s,
    memory_bytes=uint64s,
    vram_bytes=st.none() | uint64s,
    pinned=st.booleans(),
    used_at=st.none() | moments,
)
pools = st.builds(
    MemoryPool,
    gpus=st.lists(st.integers(0, 63), max_size=3).map(tuple),
    total_bytes=st.none() | uint64s,
    free_bytes=st.none() | uint64s,
    reserved_bytes=uint64s,
    observed_bytes=uint64s,
)
summaries = st.builds(
    ModelSummary,
    key=names,
    names=st.lists(names, max_size=3).map(tuple),
    size_bytes=uint64s,
    family=texts,
    quantisation=texts,
    context_tokens_max=uint32s,
    capabilities=st.frozensets(st.sampled_from(Capability)),
    replicas=st.lists(replicas, max_size=3).map(tuple),
)
spokes = st.builds(
    SpokeStatus,
    name=names,
    state=st.sampled_from(SpokeState),
    agent_version=texts,
    registered_at=moments,
    last_seen_at=moments,
    slots=uint32s,
    busy=uint32s,
    inventory=inventories,
    reserved_bytes=uint64s,
    pools=st.lists(pools, max_size=2).map(tuple),
)

kinds = st.sampled_from(sorted(STATUS, key=lambda kind: kind.reason))
OF_A_SPOKE = (SpokeError, SessionError, RequestError)
shown_text = some_text.filter(str.isprintable)
figures = st.dictionaries(
    st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True).filter(
        lambda name: name not in {"message", "reason"}
    ),
    st.integers(),
    max_size=3,
)
