from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.language.sentence import sentences
from casemate.library.parse import Extracted, Heading, Page
from casemate.library.passage import Span, split

SENTENCE = "Die Gemeinde erhebt für jede Genehmigung eine Gebühr von 50 Euro."


def a_document(*blocks: str, pages: tuple[int, ...] = ()) -> Extracted:
    """Blocks as paragraphs, "# …" as headings; ``pages`` are the blocks that begin a page."""
    text = ""
    headings: list[Heading] = []
    starts: list[int] = []
    for place, block in enumerate(blocks):
        text += "\n\n" if text else ""
        if place in pages:
            starts.append(len(text))
        level = len(block) - len(block.lstrip("#"))
        start = len(text)
        text += block.lstrip("# ")
        if level:
            headings.append(Heading(start, len(text), level))
    ends = [start - 2 for start in starts[1:]] + [len(text)]
    spans = zip(starts, ends, strict=bool(starts))
    found = tuple(Page(number, *span) for number, span in enumerate(spans, 1))
    return Extracted(text, "text/plain", None, found, tuple(headings))


def texts(document: Extracted, spans: tuple[Span, ...]) -> list[str]:
    return [document.text[span.start : span.end] for span in spans]


def test_a_short_document_is_one_passage() -> None:
    document = a_document(SENTENCE, SENTENCE)
    assert split(document) == (Span(0, None, 0, len(document.text), ""),)


def test_a_heading_goes_with_what_follows_and_names_the_passage() -> None:
    document = a_document(
        "# Fees", "## Empty", "## Building permits", SENTENCE, "## Waste", SENTENCE
    )
    passages = split(document)
    assert texts(document, passages) == [
        f"Fees\n\nEmpty\n\nBuilding permits\n\n{SENTENCE}",
        f"Waste\n\n{SENTENCE}",
    ]
    assert [p.heading for p in passages] == ["Fees › Building permits", "Fees › Waste"]


def test_a_minor_heading_divides_only_what_is_long() -> None:
    short = a_document("# A", SENTENCE, "#### B", SENTENCE)
    assert [p.heading for p in split(short)] == ["A"]
    long = a_document("# A", *[SENTENCE] * 6, "#### B", SENTENCE)
    assert [p.heading for p in split(long)] == ["A", "A › B"]


def test_a_last_heading_is_kept() -> None:
    document = a_document(SENTENCE, "# End")
    assert texts(document, split(document)) == [SENTENCE, "End"]


def test_a_page_ends_a_passage_and_numbers_it() -> None:
    document = a_document("# A", SENTENCE, SENTENCE, pages=(0, 2))
    assert [(p.page, p.heading) for p in split(document)] == [(1, "A"), (2, "A")]


def test_long_sections_are_cut_between_sentences_near_the_target() -> None:
    document = a_document(" ".join([SENTENCE] * 60))
    passages = split(document)
    assert all(400 <= p.end - p.start <= 700 for p in passages[:-1])
    assert all(text.endswith("Euro.") for text in texts(document, passages))


def test_a_sentence_longer_than_a_passage_is_cut_between_words() -> None:
    document = a_document("Wort " * 1000)
    passages = split(document, target=100, most=120)
    assert all(p.end - p.start <= 120 for p in passages)
    assert set(" ".join(texts(document, passages)).split()) == {"Wort"}


def test_a_line_without_any_gap_is_cut_all_the_same() -> None:
    document = a_document("x" * 5000)
    assert "".join(texts(document, split(document))) == "x" * 5000


@pytest.mark.parametrize(("target", "most"), [(0, 10), (11, 10)])
def test_senseless_sizes_are_refused(target: int, most: int) -> None:
    with pytest.raises(ValueError, match="target"):
        split(a_document("x"), target, most)


BLOCKS = st.lists(
    st.one_of(
        st.builds(lambda n, title: "#" * n + " " + title, st.integers(1, 6), st.just("Titel A")),
        st.lists(
            st.sampled_from([SENTENCE, "Kurz.", "- Punkt", "x" * 90, "Am 1. Mai."]), min_size=1
        ).map(" ".join),
    ),
    min_size=1,
    max_size=12,
)


@given(BLOCKS, st.sets(st.integers(0, 11)), st.integers(20, 200), st.integers(0, 200))
def test_passages_keep_every_promise(
    blocks: list[str], pages: set[int], target: int, more: int
) -> None:
    most = target + more
    document = a_document(*blocks, pages=tuple(sorted({0, *pages} if pages else ())))
    passages = split(document, target, most)
    text, reached = document.text, 0
    heading_lines = {(h.start, h.end) for h in document.headings}
    for ordinal, passage in enumerate(passages):
        assert passage.ordinal == ordinal
        assert reached <= passage.start < passage.end
        assert text[reached : passage.start].strip() == ""
        piece = text[passage.start : passage.end]
        assert piece == piece.strip()
        reached = passage.end
        page = next((p for p in document.pages if p.start <= passage.start < p.end), None)
        assert passage.page == (page.number if page else None)
        assert page is None or passage.end <= page.end
        body = passage.start
        while (edge := next((e for s, e in heading_lines if s == body), None)) is not None:
            body = edge
            while body < len(text) and text[body].isspace():
                body += 1
        assert passage.end - body <= most
        inside = [h for h in document.headings if body < h.start < passage.end and h.level <= 3]
        assert not inside
        if body >= passage.end:  # headings alone: nothing follows on this page, or too many follow
            too_many = any(
                h.start >= passage.end and h.end - passage.start > most for h in document.headings
            )
            at_end = passage.end == len(text) or (page is not None and passage.end == page.end)
            assert at_end or too_many
    assert text[reached:].strip() == ""


@given(BLOCKS)
def test_sentences_stay_whole(blocks: list[str]) -> None:
    document = a_document(*blocks)
    starts = {passage.start for passage in split(document, 50, 2000)}
    for start, end in sentences(document.text):
        assert end - start > 2000 or not any(start < cut < end for cut in starts)
