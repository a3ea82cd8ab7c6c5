import pytest

from hubspoke.errors import EngineOverloaded
from spoke.engines.admission import Admission


def test_as_many_are_let_in_as_there_are_slots():
    admission = Admission()
    with admission.slot("a", 1), admission.slot("b", 1):
        with pytest.raises(EngineOverloaded), admission.slot("a", 1):
            pass
        assert admission.running("a") == 1

    assert admission.running("a") == 0


def test_a_slot_comes_free_however_the_work_ends():
    admission = Admission()
    with pytest.raises(ValueError), admission.slot("a", 1):
        raise ValueError

    with admission.slot("a", 1):
        assert admission.running("a") == 1
