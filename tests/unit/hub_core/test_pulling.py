"""Which spoke gets a model that is pulled by hand."""

import pytest

from hub.core.pulling import puller
from hub.core.registry import SILENCE_S
from hubspoke.errors import EngineUnavailable, NoSpoke, Unsupported
from hubspoke.types import EngineInfo
from tests.unit.hub_core.machines import CPU, GIB, NOW, a_mesh, an_inventory, warm

OLLAMA = EngineInfo("ollama", gpus=(0,), pulls=True)


def having(engine: EngineInfo = OLLAMA, **given):
    return an_inventory(engines=(engine, CPU), **given)


def test_the_spoke_with_most_memory_to_give_gets_it():
    mesh = a_mesh(den=having(free=4 * GIB), attic=having(free=8 * GIB), cellar=an_inventory(free=11 * GIB))
    assert puller(mesh, "llama3.2:1b", None, NOW) == ("attic", ("ollama", "llama3.2:1b"))


def test_memory_of_models_that_could_be_unloaded_counts():
    den = an_inventory(warm(size=7 * GIB), engines=(OLLAMA, CPU), free=4 * GIB)
    assert puller(a_mesh(den=den, attic=having(free=8 * GIB)), "m", None, NOW)[0] == "den"


def test_a_spoke_that_was_named_gets_it():
    mesh = a_mesh(den=having(free=4 * GIB), attic=having(free=8 * GIB))
    assert puller(mesh, "m", "den", NOW)[0] == "den"


def test_a_spoke_that_is_away_is_told():
    mesh = a_mesh(den=having())
    for name, now in (("nobody", NOW), ("den", NOW + SILENCE_S)):
        with pytest.raises(NoSpoke, match=name):
            puller(mesh, "m", name, now)


def test_where_nobody_pulls_it_is_said_what_to_do():
    with pytest.raises(Unsupported, match="GGUF"):
        puller(a_mesh(den=an_inventory()), "m", None, NOW)


def test_an_engine_that_is_down_pulls_nothing():
    with pytest.raises(EngineUnavailable, match="refused"):
        puller(a_mesh(den=having(EngineInfo("ollama", fault="refused", pulls=True))), "m", None, NOW)
