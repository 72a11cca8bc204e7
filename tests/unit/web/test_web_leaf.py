from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from casemate.gate.country import Country
from casemate.library.document import Document
from casemate.web.leaf import LEAVES, STRETCH, open_at
from casemate.web.passage import Span


def a_document(**changed: Any) -> Document:
    plain = Document(
        id="d1",
        name="fees.pdf",
        collection="fees",
        label=Country.load("lu").policy.lowest(),
        title=None,
        media_type="application/pdf",
        digest="sha256:00",
        size=1,
        characters=1,
        pages=(),
        headings=(),
        added="2026-11-24T22:23:16Z",
    )
    return replace(plain, **changed)


def pages(count: int, size: int = 10) -> tuple[tuple[int, int], ...]:
    return tuple((n * size, (n + 1) * size) for n in range(count))


def test_headings_and_paragraphs_are_told_apart() -> None:
    text = "Fees\nA copy.\n\nA seal."
    shown = open_at(a_document(headings=((0, 4, 1),)), text, None, None)
    (leaf,) = shown.leaves
    assert [(block.level, block.runs[0].text) for block in leaf.blocks] == [
        (1, "Fees"),
        (0, "A copy."),
        (0, "A seal."),
    ]


def test_a_mark_across_pages_is_on_both_and_anchored_once() -> None:
    text = "0123456789" * 2
    shown = open_at(a_document(pages=pages(2)), text, Span("passage", 8, 12), None)
    marked = [
        run for leaf in shown.leaves for block in leaf.blocks for run in block.runs if run.marks
    ]
    assert [run.text for run in marked] == ["89", "01"]
    assert [run.anchors for run in marked] == [("passage",), ()]


def test_a_long_document_opens_around_the_passage() -> None:
    text = "0123456789" * 2000
    shown = open_at(a_document(pages=pages(2000)), text, Span("passage", 15_003, 15_006), None)
    numbers = [leaf.number for leaf in shown.leaves]
    assert len(numbers) == LEAVES
    assert 1501 in numbers
    assert shown.total == 2000
    assert shown.earlier is not None
    assert shown.later == numbers[-1] + 1


@pytest.mark.parametrize(("wanted", "first"), [(0, 1), (1, 1), (5, 5), (10**9, 2000 - LEAVES + 1)])
def test_any_page_number_opens_somewhere(wanted: int, first: int) -> None:
    text = "0123456789" * 2000
    shown = open_at(a_document(pages=pages(2000)), text, None, wanted)
    assert shown.leaves[0].number == first


def test_a_document_without_pages_is_cut_at_line_ends() -> None:
    text = "A line of words.\n" * 3000
    shown = open_at(a_document(), text, None, None)
    assert not shown.paged
    assert shown.total > 1
    assert all(len(leaf.blocks[0].runs[0].text) < 2 * STRETCH for leaf in shown.leaves)


def test_an_empty_document_has_one_empty_leaf() -> None:
    shown = open_at(a_document(), "", None, 3)
    assert [leaf.blocks for leaf in shown.leaves] == [()]
