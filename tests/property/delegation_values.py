"""Whatever can be handed over or become of it, drawn by Hypothesis."""

from types import MappingProxyType

from hypothesis import strategies as st

from hubspoke.types import (
    Check,
    DelegationEvent,
    DelegationInfo,
    DelegationState,
    Excerpt,
    FinishReason,
    Goal,
    Input,
    JsonFormat,
    Limits,
    Merge,
    Mode,
    Plan,
    Planned,
    Priority,
    Problem,
    Progress,
    Review,
    Reviewed,
    SideEffect,
    Spent,
    StateChanged,
    Subtask,
    SubtaskState,
    SubtaskStatus,
    Verdict,
    VerdictKind,
    Work,
)
from hubspoke.wire import delegations
from tests.property.wire_values import moments, names, objects, some_text, texts, tool_names, uint32s, uint64s

printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
formats = st.none() | st.just(JsonFormat()) | st.builds(JsonFormat, objects)
labels = st.dictionaries(printable, texts, max_size=3).map(MappingProxyType)
inputs = st.lists(st.builds(Input, printable, some_text), max_size=3, unique_by=lambda given: given.name).map(
    tuple
)
budgets = st.none() | st.integers(1, (1 << 64) - 1)
limits = st.builds(
    Limits,
    deadline=st.none() | moments,
    orchestrator_tokens_max=budgets,
    worker_tokens_max=budgets,
    review_rounds_max=st.integers(1, delegations.REVIEW_ROUNDS_MAX),
    parallel_max=st.integers(1, delegations.SUBTASKS_MAX),
    lane=texts.filter(lambda text: len(text.encode()) <= delegations.LANE_BYTES_MAX),
)


@st.composite
def excerpts(draw: st.DrawFn, given: Input) -> Excerpt:
    """Draw some of *given*, cut between characters."""
    begin = draw(st.integers(0, len(given.text) - 1))
    end = draw(st.integers(begin + 1, len(given.text)))
    ends = (len(given.text[:place].encode()) for place in (begin, end))
    return Excerpt(given.name, *ends)


@st.composite
def plans(draw: st.DrawFn, given: tuple[Input, ...]) -> Plan:
    """Draw subtasks, each of which may depend on those before it."""
    subtasks: list[Subtask] = []
    for name in draw(st.lists(tool_names, min_size=1, max_size=4, unique=True)):
        before = [subtask.id for subtask in subtasks]
        reads = st.lists(st.sampled_from(given).flatmap(excerpts), max_size=2) if given else st.just([])
        subtasks.append(
            Subtask(
                id=name,
                instruction=draw(some_text),
                depends_on=tuple(draw(st.lists(st.sampled_from(before), unique=True))) if before else (),
                reads=tuple(draw(reads)),
                model=draw(texts),
                format=draw(formats),
                max_output_tokens=draw(uint32s),
                checks=tuple(draw(st.lists(st.sampled_from(Check), unique=True))),
                side_effect=draw(st.sampled_from(SideEffect)),
                attempts_max=draw(st.integers(1, delegations.SUBTASK_ATTEMPTS_MAX)),
                timeout_s=draw(st.none() | st.integers(1, 44_236_800).map(lambda parts: parts / 512)),
                task=draw(texts.filter(lambda text: len(text.encode()) <= delegations.TASK_BYTES_MAX)),
            )
        )
    merge = draw(st.sampled_from(Merge))
    shuffled = draw(st.permutations(subtasks))
    return Plan(tuple(shuffled), merge, draw(some_text) if merge is Merge.MODEL else "")


@st.composite
def works(draw: st.DrawFn) -> Work:
    """Draw a goal or a plan with all that goes with it."""
    given = draw(inputs)
    goals = st.builds(Goal, some_text, formats, st.sampled_from(Mode))
    return Work(
        request_id=draw(printable),
        task=draw(goals | plans(given)),
        inputs=given,
        limits=draw(limits),
        partial=draw(st.booleans()),
        review=draw(st.sampled_from(Review)),
        priority=draw(st.sampled_from(Priority)),
        labels=draw(labels),
    )


problems = st.none() | st.builds(Problem, some_text, texts)
spents = st.builds(Spent, uint64s, uint64s)
statuses = st.builds(
    SubtaskStatus,
    id=tool_names,
    state=st.sampled_from(SubtaskState),
    title=texts,
    depends_on=st.lists(tool_names, max_size=2).map(tuple),
    attempt=uint32s,
    spoke=st.just("") | names,
    model=texts,
    output=texts,
    problem=problems,
    spent=spents,
    finish=st.none() | st.sampled_from(FinishReason),
)
many_statuses = st.lists(statuses, max_size=3).map(tuple)
verdicts = st.lists(st.builds(Verdict, tool_names, st.sampled_from(VerdictKind), texts), max_size=3).map(
    tuple
)
happenings = st.one_of(
    st.builds(StateChanged, st.sampled_from(DelegationState), texts, problems, spents),
    st.builds(Planned, st.sampled_from(Mode), many_statuses, texts),
    statuses,
    st.builds(Reviewed, uint32s, verdicts),
    st.builds(Progress, st.none() | tool_names, names, uint64s),
)
events = st.builds(DelegationEvent, uint64s, moments, happenings)
infos = st.builds(
    DelegationInfo,
    id=names,
    state=st.sampled_from(DelegationState),
    owner=names,
    request_id=printable,
    title=texts,
    accepted_at=moments,
    deadline=moments,
    mode=st.sampled_from(Mode),
    labels=labels,
    priority=st.sampled_from(Priority),
    ended_at=st.none() | moments,
    last_seq=uint64s,
    subtasks=many_statuses,
    result=texts,
    problem=problems,
    spent=spents,
)
