from pathlib import Path

from hubspoke.paths import SERVICE_DIR, Places, places

HOME = Path("/home/ada")


def test_a_given_directory_holds_everything():
    assert places(Path("/mesh"), {}, HOME, owns_service_dir=True) == Places(
        Path("/mesh/hub"), Path("/mesh/spoke"), Path("/mesh/client")
    )


def test_the_environment_gives_a_directory_too():
    found = places(None, {"HUBSPOKE_STATE_DIR": "/mesh"}, HOME, owns_service_dir=False)
    assert found.client == Path("/mesh/client")


def test_an_argument_wins_over_the_environment():
    found = places(Path("/other"), {"HUBSPOKE_STATE_DIR": "/mesh"}, HOME, owns_service_dir=False)
    assert found.hub == Path("/other/hub")


def test_people_have_state_and_identity_at_home():
    found = places(None, {}, HOME, owns_service_dir=False)
    assert found == Places(
        HOME / ".local/state/hubspoke/hub", HOME / ".local/state/hubspoke/spoke", HOME / ".config/hubspoke"
    )


def test_xdg_moves_both():
    environ = {"XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}
    found = places(None, environ, HOME, owns_service_dir=False)
    assert (found.spoke, found.client) == (Path("/s/hubspoke/spoke"), Path("/c/hubspoke"))


def test_a_service_has_its_state_in_the_system_and_its_admin_at_home():
    found = places(None, {}, HOME, owns_service_dir=True)
    assert (found.hub, found.client) == (SERVICE_DIR / "hub", HOME / ".config/hubspoke")


def test_on_windows_all_lies_in_the_users_local_data():
    found = places(None, {"LOCALAPPDATA": "/AppData/Local"}, HOME, owns_service_dir=False)
    base = Path("/AppData/Local/hubspoke")
    assert found == Places(base / "hub", base / "spoke", base / "client")
