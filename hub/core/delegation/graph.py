"""What has to be done before what, and what to begin with. A graph is the names of subtasks with those each waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Graph: TypeAlias = "Mapping[str, Collection[str]]"


def levels(graph: Graph) -> dict[str, int]:
    """Say how many others, one after the other, come before each subtask.

    Raise InvalidRequest for one that waits for itself, or for one that is not there.
    """
    for name, waits_for in graph.items():
        for other in waits_for:
            if other not in graph:
                raise InvalidRequest(f"subtask {name!r} depends on {other!r}, which is not in the plan")
    after: dict[str, list[str]] = {name: [] for name in graph}
    for name, waits_for in graph.items():
        for other in waits_for:
            after[other].append(name)
    found = {name: 0 for name, waits_for in graph.items() if not waits_for}
    left = {name: len(waits_for) for name, waits_for in graph.items() if waits_for}
    reached = list(found)
    for name in reached:
        for next_ in after[name]:
            left[next_] -= 1
            if not left[next_]:
                del left[next_]
                found[next_] = found[name] + 1
                reached.append(next_)
    if left:
        raise InvalidRequest(f"subtasks wait for each other in a circle: {_circle(graph, left)}")
    return found


def remaining(graph: Graph, seconds: Mapping[str, float]) -> dict[str, float]:
    """Say how long the longest chain lasts that begins with each subtask, itself included."""
    ordered = sorted(graph, key=levels(graph).__getitem__, reverse=True)
    longest = dict(seconds)
    after = dict.fromkeys(graph, 0.0)
    for name in ordered:
        longest[name] = seconds[name] + after[name]
        for other in graph[name]:
            after[other] = max(after[other], longest[name])
    return longest


def ready(graph: Graph, done: Collection[str], begun: Collection[str]) -> tuple[str, ...]:
    """Give the subtasks that can begin now: all that they wait for is *done*, and they are not *begun*."""
    return tuple(
        name
        for name, waits_for in graph.items()
        if name not in done and name not in begun and all(other in done for other in waits_for)
    )


def order(graph: Graph, seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Give all subtasks, the most pressing first: who has the longest chain behind it holds up the most.

    A subtask comes before those that wait for it. Of equals the one that is more to the front of the plan goes first.
    """
    depth, longest = levels(graph), remaining(graph, seconds)
    places = {name: place for place, name in enumerate(graph)}
    return tuple(sorted(graph, key=lambda name: (-longest[name], depth[name], places[name])))


def ends(graph: Graph) -> tuple[str, ...]:
    """Give the subtasks that no other waits for: theirs are the results."""
    awaited = {other for waits_for in graph.values() for other in waits_for}
    return tuple(name for name in graph if name not in awaited)


def _circle(graph: Graph, left: Collection[str]) -> str:
    """Walk along what cannot begin until a name comes again."""
    path = [next(iter(left))]
    while (following := next(other for other in graph[path[-1]] if other in left)) not in path:
        path.append(following)
    return " -> ".join([*path[path.index(following) :], following])
