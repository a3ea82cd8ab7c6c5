import math

import pytest

from hubspoke.errors import EngineProtocol, InvalidRequest
from spoke.engines.vectors import BATCH_BYTES, BATCH_TEXTS, batches, directions, scaled


def test_texts_are_cut_into_batches_in_order():
    texts = [str(number) for number in range(2 * BATCH_TEXTS + 1)]

    cut = list(batches(texts))

    assert [first for first, _ in cut] == [0, BATCH_TEXTS, 2 * BATCH_TEXTS]
    assert [text for _, batch in cut for text in batch] == texts


def test_long_texts_make_small_batches_and_the_longest_goes_alone():
    half, whole = "a" * (BATCH_BYTES // 2), "a" * (2 * BATCH_BYTES)

    assert [len(batch) for _, batch in batches([half, half, half, whole, "b", "c"])] == [2, 1, 1, 2]


def test_no_texts_make_no_batch():
    assert list(batches([])) == []


def test_a_vector_is_brought_to_length_1():
    assert scaled([3.0, 4.0]) == pytest.approx((0.6, 0.8))


@pytest.mark.parametrize("size", [1e-300, 1e300, 5e-324])
def test_tiny_and_huge_vectors_have_a_direction_too(size: float):
    assert math.hypot(*scaled([size, -size])) == pytest.approx(1)


@pytest.mark.parametrize("vector", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [1.0, -math.inf]])
def test_what_has_no_direction_is_refused(vector: list[float]):
    with pytest.raises(EngineProtocol):
        directions([vector], texts=1, dimensions=0)


@pytest.mark.parametrize("made", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[], []], [[1.0], [1.0], [1.0]]])
def test_vectors_that_are_not_those_of_the_texts_are_refused(made: list[list[float]]):
    with pytest.raises(EngineProtocol):
        directions(made, texts=2, dimensions=0)


def test_vectors_are_cut_and_then_brought_to_length_1():
    assert directions([[3.0, 4.0, 12.0]], texts=1, dimensions=2) == (pytest.approx((0.6, 0.8)),)


def test_what_is_beyond_the_cut_may_be_all_there_is():
    with pytest.raises(EngineProtocol):
        directions([[0.0, 1.0]], texts=1, dimensions=1)


def test_longer_vectors_than_there_are_are_refused_with_both_numbers():
    with pytest.raises(InvalidRequest, match=r"3.*2"):
        directions([[1.0, 2.0]], texts=1, dimensions=3)
