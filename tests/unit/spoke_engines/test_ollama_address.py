import pytest

from hubspoke.errors import InvalidRequest
from spoke.engines.ollama.address import address, is_here, usual_address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("den", "http://den:11434"),
        ("den:8080", "http://den:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        ("http://den", "http://den:80"),
        ("https://den/ollama/", "https://den:443/ollama"),
        (" den ", "http://den:11434"),
    ],
)
def test_an_address_means_what_ollama_takes_it_for(text: str, url: str):
    assert address(text) == url


@pytest.mark.parametrize(
    "text", ["ftp://den", "http://me:secret@den", "den:port", "den:99999", "http://[::1", "den?x=1"]
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(InvalidRequest):
        address(text)


def test_a_user_in_an_address_is_not_repeated():
    with pytest.raises(InvalidRequest) as refused:
        address("http://me:secret@den")

    assert "secret" not in refused.value.message


def test_the_usual_address_is_in_the_environment_or_ollamas_own():
    assert usual_address({}) == "http://127.0.0.1:11434"
    assert usual_address({"OLLAMA_HOST": "den"}) == "http://den:11434"


def test_only_a_loopback_is_here():
    assert is_here("http://127.0.0.1:11434")
    assert is_here("http://[::1]:11434")
    assert is_here("http://localhost:11434")
    assert not is_here("http://192.168.1.7:11434")
    assert not is_here("http://den:11434")
