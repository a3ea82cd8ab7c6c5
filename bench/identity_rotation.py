"""What an exchange of the root costs a mesh whose nodes all take part."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

from bench.identity_questions import some_at_a_time
from bench.processes import Mesh
from bench.report import Row, Section
from hubspoke.admin import AdminClient
from hubspoke.client import MeshClient
from hubspoke.clock import SystemClock
from hubspoke.errors import RotationRefused
from pki.files import NodeFiles
from pki.identity import Role
from pki.rotation import Kind
from pki.succession import RootKey, prepare

if TYPE_CHECKING:
    from bench.identity_questions import Bed
    from hubspoke.types import AuthoritiesInfo
    from pki.rotation import Phase

READY_S_MAX: Final = 60.0
LOOK_S: Final = 0.05


async def rotation(bed: Bed) -> Section:
    """How long does an exchange of the root take, and how much of that are the nodes?

    In a mesh of its own: every node of it has to take part.
    """
    mesh = Mesh(bed.mesh.state("exchanged"))
    nodes_s, began = 0.0, perf_counter()
    async with mesh.hub():
        names = [f"exchanges-{number}" for number in range(bed.scale.exchanged)]
        await some_at_a_time([partial(mesh.node, name, Role.APP) for name in names])
        nodes = [NodeFiles(mesh.app), *(NodeFiles(mesh.state(name)) for name in names)]
        began = perf_counter()
        info = await _begin(mesh)
        while info.rotation is not None:
            began_phase = perf_counter()
            await some_at_a_time([partial(_take_over, node) for node in nodes])
            nodes_s += perf_counter() - began_phase
            info = await _advance(mesh, info.rotation.phase)
        took_s = perf_counter() - began
    each_ms = nodes_s / len(nodes) * 1e3
    figures = {"nodes": len(nodes), "took_s": took_s, "nodes_s": nodes_s, "each_node_ms": each_ms}
    what = f"exchange of the root, {len(nodes)} nodes"
    rows = (
        Row(f"{what}: all of it", f"{took_s:.1f} s"),
        Row("   of that, of the nodes", f"{nodes_s:.1f} s"),
        Row("   a node, with all of its phases", f"{each_ms:.1f} ms"),
    )
    return Section("rotation", figures, rows)


async def _begin(mesh: Mesh) -> AuthoritiesInfo:
    now = SystemClock().now()
    shown = await asyncio.to_thread(prepare, mesh.files.authorities, Kind.ROOT, RootKey(None), now=now)
    async with AdminClient(mesh.admin.directory) as admin:
        return await admin.begin_rotation(Kind.ROOT, shown)


async def _take_over(node: NodeFiles) -> None:
    """Connect, which brings whatever is new: roots, a certificate."""
    async with MeshClient(node.directory):
        pass


async def _advance(mesh: Mesh, phase: Phase) -> AuthoritiesInfo:
    async with asyncio.timeout(READY_S_MAX):
        while True:
            # A connection each time: the admin is a node, too.
            async with AdminClient(mesh.admin.directory) as admin:
                try:
                    return (await admin.advance_rotation(Kind.ROOT, phase))[0]
                except RotationRefused:
                    await asyncio.sleep(LOOK_S)  # calls of before have not all come to their end
