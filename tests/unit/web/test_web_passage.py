from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from casemate.web.passage import CONTEXT, Run, Span, excerpt, runs


def test_text_is_cut_where_a_mark_begins_and_ends() -> None:
    assert runs("abcdef", 10, [Span("x", 12, 14)]) == (
        Run("ab"),
        Run("cd", ("x",), ("x",)),
        Run("ef"),
    )


def test_marks_may_overlap_and_each_has_one_anchor() -> None:
    made = runs("abcdef", 0, [Span("x", 1, 4), Span("y", 2, 5)])
    assert [run.text for run in made] == ["a", "b", "cd", "e", "f"]
    assert [run.marks for run in made] == [(), ("x",), ("x", "y"), ("y",), ()]
    assert [run.anchors for run in made] == [(), ("x",), ("y",), (), ()]


@given(
    st.text(max_size=60),
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 40)), max_size=5),
)
def test_nothing_of_the_text_is_lost_whatever_is_marked(
    text: str, offset: int, where: list[tuple[int, int]]
) -> None:
    spans = [Span(str(n), start, start + length) for n, (start, length) in enumerate(where)]
    assert "".join(run.text for run in runs(text, offset, spans)) == text


def test_an_excerpt_keeps_the_marked_words_and_cuts_between_words() -> None:
    text = "before " * 100 + "THE WORDS" + " after" * 100
    at = text.index("THE WORDS")
    cut = excerpt(text, 1000, [Span("x", 1000 + at, 1000 + at + 9)])
    assert [run.text for run in cut.runs if run.marks] == ["THE WORDS"]
    assert cut.cut_before
    assert cut.cut_after
    shown = "".join(run.text for run in cut.runs)
    assert set(shown.split()) == {"before", "THE", "WORDS", "after"}
    assert len(shown) <= 2 * CONTEXT + 60


def test_a_short_passage_is_shown_whole() -> None:
    cut = excerpt("Just this.", 5, [Span("x", 5, 9)])
    assert not cut.cut_before
    assert not cut.cut_after


def test_an_excerpt_has_no_empty_lines() -> None:
    cut = excerpt("One.\n\n \nTwo.", 0, [])
    assert "".join(run.text for run in cut.runs) == "One.\nTwo."
