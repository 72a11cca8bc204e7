"""Citations: only what stands verbatim in a passage gets a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.engine import Token
from casemate.reasoning.citation import Binder, Bound, Span
from casemate.reasoning.event import Source

FEES = "The dog tax is 40 euros a year. It is due\non 1 March. Cats are free."
WASTE = "Garbage is collected on Monday. Glass is collected on Tuesday."


def a_source(text: str, start: int = 0, **changes: object) -> Source:
    values: dict[str, object] = {
        "document_id": "d1",
        "document": "fees.md",
        "digest": "sha256:" + "0" * 64,
        "collection": "notes",
        "page": None,
        "start": start,
        "end": start + len(text),
        "title": "",
        "heading": "",
        "label": "lu:unclassified",
        "text": text,
    }
    return Source(**(values | changes))  # type: ignore[arg-type]


SOURCES = (a_source(FEES, 100), a_source(WASTE, 7))


def bound(*pieces: str | Token, sources: tuple[Source, ...] = SOURCES) -> list[Bound]:
    binder = Binder(sources)
    found: list[Bound] = []
    for piece in pieces:
        found += binder.feed(Token(piece) if isinstance(piece, str) else piece)
    return [*found, *binder.finish()]


def quoted(span: Span, sources: tuple[Source, ...] = SOURCES) -> str:
    source = sources[span.source]
    return source.text[span.start - source.start : span.end - source.start]


def test_a_marked_quotation_is_bound_to_its_exact_span() -> None:
    (one,) = bound("“The dog tax is 40 euros a year” [1].")
    (span,) = one.cites
    assert (span.source, span.start, span.end) == (0, 100, 130)
    assert quoted(span) == "The dog tax is 40 euros a year"
    assert "[1]" not in one.text


def test_a_sentence_copied_whole_needs_no_quotation_marks() -> None:
    (one,) = bound("Garbage is collected on Monday. [2]")
    assert [quoted(span) for span in one.cites] == ["Garbage is collected on Monday."]


def test_white_space_counts_as_equal_and_the_span_is_that_of_the_document() -> None:
    (one,) = bound("“It   is due on 1 March.” [1]")
    assert [quoted(span) for span in one.cites] == ["It is due\non 1 March."]


@pytest.mark.parametrize(
    "said",
    [
        "“The dog tax is 41 euros a year.” [1]",
        "“the dog tax is 40 euros a year” [1]",
        "“The dog tax was 40 euros a year.” [1]",
        "The dog tax is about 41 euros. [1]",
        "“Fees of another commune” [2]",
    ],
)
def test_what_is_not_verbatim_in_the_passage_named_is_no_citation(said: str) -> None:
    (one,) = bound(said)
    assert one.cites == ()
    assert one.support == "none"


def test_a_sentence_in_other_words_cites_the_sentence_that_carries_it() -> None:
    (one,) = bound("The dog tax is about 40 euros. [1]")
    assert [quoted(span) for span in one.cites] == ["The dog tax is 40 euros a year."]
    assert one.support == "words"


@pytest.mark.parametrize("marker", ["[0]", "[3]", "[999]", "[1000]", "[-1]", "[1.5]", "[]", "[a]"])
def test_a_marker_that_names_no_passage_gives_no_citation(marker: str) -> None:
    assert [span for one in bound(f"The mayor is tall. {marker}") for span in one.cites] == []


def test_a_quotation_under_the_wrong_marker_is_bound_where_it_really_stands() -> None:
    (one,) = bound("“Garbage is collected on Monday.” [1]")
    assert [(span.source, quoted(span)) for span in one.cites] == [
        (1, "Garbage is collected on Monday.")
    ]


def test_two_markers_bind_each_quotation_to_the_passage_that_holds_it() -> None:
    (one,) = bound("“The dog tax is 40 euros a year” and “Glass is collected on Tuesday” [1][2].")
    assert sorted((span.source, quoted(span)) for span in one.cites) == [
        (0, "The dog tax is 40 euros a year"),
        (1, "Glass is collected on Tuesday"),
    ]


def test_a_quotation_without_a_marker_is_found_in_any_passage() -> None:
    (one,) = bound("It says “Glass is collected on Tuesday”.")
    assert [(span.source, quoted(span)) for span in one.cites] == [
        (1, "Glass is collected on Tuesday")
    ]


def test_a_few_quoted_letters_without_a_marker_bind_to_nothing() -> None:
    (one,) = bound("The word “free” is short.")
    assert one.cites == ()


@pytest.mark.parametrize("pair", ["“”", "„“", '""', "«»"])
def test_quotation_marks_of_four_languages_are_known(pair: str) -> None:
    (one,) = bound(f"Es heißt {pair[0]}Cats are free{pair[1]}. [1]")
    assert "Cats are free" in [quoted(span) for span in one.cites]


def test_a_copied_token_is_checked_against_its_place() -> None:
    copied = Token("Cats are free.", evidence=1, start=FEES.index("Cats"))
    assert [quoted(span) for span in bound(copied)[0].cites] == ["Cats are free."]
    forged = Token("Cats are dear.", evidence=1, start=FEES.index("Cats"))
    moved = Token("Cats are free.", evidence=1, start=3)
    elsewhere = Token("Cats are free.", evidence=2, start=FEES.index("Cats"))
    for token in (forged, moved, elsewhere):
        assert bound(token)[0].cites == ()


def test_a_sentence_leaves_as_soon_as_nothing_can_change_it() -> None:
    binder = Binder(SOURCES)
    told = [
        one.text
        for piece in ("Cats are free. [1] ", "Dogs are not. ", "Glass is heavy. ", "And ")
        for one in binder.feed(Token(piece))
    ]
    assert told[0] == "Cats are free."
    assert "And" not in told


# Whatever a model writes

PIECES = st.sampled_from(
    [
        "The dog tax is 40 euros a year",
        "Garbage is collected on Monday.",
        "It is due on 1 March",
        "no such words anywhere",
        "Cats are free.",
        "Dr. Muller, z. B. am 3. Mai",
        "“",
        "”",
        '"',
        "[1] ",
        "[2] ",
        "[3] ",
        "[0] ",
        " ",
        "\n",
        ". ",
        "! ",
        "é𝔖",
    ]
)
SENTENCE = st.sampled_from(
    [
        "“The dog tax is 40 euros a year”, it says.",
        "Garbage is collected on Monday.",
        "It is due on 1 March!",
        "Is there such a thing?",
        "Dr. Muller came at 8 a.m. on 3. Mai, z. B. from Esch.",
        "- Cats are free",
        "Sie sagte: „Cats are free“.",
    ]
)
MARKERS = st.sampled_from(["", "", " [1]", " [2]", " [1][2]", " [1] [2]", " [7]"])
PROSE = st.lists(
    st.tuples(SENTENCE, MARKERS, st.sampled_from([" ", "  "])).map("".join), max_size=6
).map("".join)
WRITTEN = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=80)


@given(WRITTEN)
def test_every_citation_is_verbatim_in_its_passage_and_in_what_was_said(text: str) -> None:
    for one in bound(text):
        for span in one.cites:
            source = SOURCES[span.source]
            assert source.start <= span.start < span.end <= source.end
            if one.support == "verbatim":
                assert "".join(quoted(span).split()) in "".join(one.text.split())
        assert bool(one.cites) == (one.support != "none")


@given(PROSE, st.data())
def test_tokens_cut_anywhere_bind_as_the_whole_does(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert bound(*pieces) == bound(text)


@pytest.mark.parametrize("gap", ["", "\n", "\n\n"])
def test_a_marker_close_to_the_next_sentence_binds_to_the_one_before_it(gap: str) -> None:
    text = f"Cats are free. [1]{gap}Garbage is heavy. And green."
    cut = text.index("And")
    assert bound(text[:cut], text[cut:])[0].cites
    assert bound(text[:cut], text[cut:]) == bound(text)


@given(WRITTEN)
def test_nothing_that_was_said_is_lost_but_markers_and_white_space(text: str) -> None:
    import re

    said = "".join("".join(one.text for one in bound(text)).split())
    assert said == "".join(re.sub(r"\[\d{1,3}\]", "", text).split())


@given(st.text(min_size=1, max_size=30), st.integers(0, 50))
def test_a_passage_of_any_text_can_be_quoted_from_any_place(text: str, start: int) -> None:
    sources = (a_source(text, start),)
    copied = Token(text, evidence=1, start=0)
    ((span,),) = [one.cites for one in bound(copied, sources=sources)]
    assert (span.start, span.end) == (start, start + len(text))
