"""What `spoke-agent run` takes before anything is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from hubspoke.config import load
from hubspoke.errors import InvalidRequest
from spoke.cli import main
from spoke.config import SpokeConfig

if TYPE_CHECKING:
    from pathlib import Path


def run(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--state-dir", str(state)])


@pytest.mark.parametrize("command", [(), ("run",)], ids=["no command", "run"])
def test_a_machine_without_an_identity_is_told_what_to_do(tmp_path, command):
    result = run(tmp_path, *command)
    assert result.exit_code == 4
    assert "spoke-agent join" in result.stderr
    assert str(tmp_path / "spoke") in result.stderr


def test_a_number_of_slots_that_makes_no_sense_is_wrong_usage(tmp_path):
    assert run(tmp_path, "--slots", "0").exit_code == 2


def test_a_key_that_nobody_reads_is_told_with_its_file(tmp_path):
    (tmp_path / "hubspoke.toml").write_text("[spoke]\nslotz = 4\n")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "slotz" in result.stderr
    assert "hubspoke.toml" in result.stderr


def test_a_file_that_is_named_must_be_there(tmp_path):
    assert run(tmp_path, "--config", str(tmp_path / "none.toml")).exit_code == 2


def test_the_environment_overrules_the_file(tmp_path):
    file = tmp_path / "hubspoke.toml"
    file.write_text('[spoke]\nslots = 4\nmodels = ["tiny"]\n')
    config = load(SpokeConfig, "spoke", file, {"HUBSPOKE_SPOKE_SLOTS": "2"})
    assert (config.slots, config.models) == (2, ("tiny",))


def test_models_in_the_environment_are_written_with_commas():
    config = load(SpokeConfig, "spoke", None, {"HUBSPOKE_SPOKE_MODELS": "tiny,nano"})
    assert config.models == ("tiny", "nano")


def test_blanks_and_empty_items_of_a_list_in_the_environment_mean_nothing():
    config = load(SpokeConfig, "spoke", None, {"HUBSPOKE_SPOKE_MODELS": " tiny, nano,,"})
    assert config.models == ("tiny", "nano")


def test_an_empty_list_in_the_environment_overrules_the_file(tmp_path):
    file = tmp_path / "hubspoke.toml"
    file.write_text('[spoke]\nhubs = ["box:7443"]\n')
    assert load(SpokeConfig, "spoke", file, {}).hubs == ("box:7443",)
    assert load(SpokeConfig, "spoke", file, {"HUBSPOKE_SPOKE_HUBS": ""}).hubs == ()


@pytest.mark.parametrize("hub", ["box", "box:0", "http://box:7443", "fd00::5:7443"])
def test_an_address_that_cannot_be_dialled_is_told_with_its_key(hub):
    with pytest.raises(InvalidRequest, match=r"HUBSPOKE_SPOKE_HUBS.*hubs: .* is not a host and a port"):
        load(SpokeConfig, "spoke", None, {"HUBSPOKE_SPOKE_HUBS": hub})


def test_addresses_are_spelled_in_one_way():
    config = load(SpokeConfig, "spoke", None, {"HUBSPOKE_SPOKE_HUBS": "Box:7443, [FD00:0::5]:7443"})
    assert config.hubs == ("box:7443", "[fd00::5]:7443")


def test_slots_beyond_the_contract_are_refused():
    with pytest.raises(InvalidRequest, match="slots"):
        load(SpokeConfig, "spoke", None, {"HUBSPOKE_SPOKE_SLOTS": "257"})


def test_a_model_gets_no_more_slots_than_the_spoke_has():
    assert SpokeConfig(slots=2, model_slots=4).plan.slots == 2
    assert SpokeConfig(slots=8, model_slots=4).plan.slots == 4


def test_models_lie_beside_the_state_unless_said_otherwise(tmp_path):
    assert SpokeConfig().models_folder(tmp_path) == tmp_path / "models"
    assert SpokeConfig(models_dir="/data/gguf").models_folder(tmp_path).parts[-2:] == ("data", "gguf")
