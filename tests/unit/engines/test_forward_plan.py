"""How a forward pass over many prompts is cut, and what is made of its logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.llama.forward import logprobs, pieces, shared

PLACES = st.integers(0, 1500)


@given(PLACES, PLACES, PLACES, st.integers(1, 300))
def test_pieces_cover_every_place_once_and_no_piece_is_too_large(
    start: int, first: int, length: int, outputs: int
) -> None:
    first, end = start + first % (length + 1), start + length
    cut = list(pieces(start, first, end, outputs))
    assert [place for begin, _, after in cut for place in range(begin, after)] == list(
        range(start, end)
    )
    logits = [place for _, begin, after in cut for place in range(begin, after)]
    assert logits == list(range(first, end))
    assert all(after - begin <= 256 for begin, _, after in cut)
    assert all(after - begin <= outputs for _, begin, after in cut)


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_what_is_shared_is_the_longest_common_beginning(one: list[int], other: list[int]) -> None:
    count = shared(one, other)
    assert one[:count] == other[:count]
    assert one[: count + 1] != other[: count + 1] or count == len(one) == len(other)


def test_a_probability_is_that_of_the_whole_vocabulary() -> None:
    logits = np.random.default_rng(3).normal(0, 20, 131_072).astype(np.float32)
    exact = [float(one) for one in logits]
    top = max(exact)
    total = math.fsum(math.exp(one - top) for one in exact)
    tokens = (0, 77, 131_071)
    assert logprobs(np.stack([logits] * 3), tokens) == pytest.approx(
        [exact[token] - top - math.log(total) for token in tokens], abs=1e-5
    )


def test_logits_beyond_what_an_exponential_can_hold_still_give_probabilities() -> None:
    logits = np.array([[1e4, 1e4, -1e4], [0, 0, 0], [1e4, 1e4, -1e4]], np.float32)
    assert logprobs(logits, (0, 1, 2)) == pytest.approx(
        [-math.log(2), -math.log(3), -2e4 - math.log(2)]
    )
