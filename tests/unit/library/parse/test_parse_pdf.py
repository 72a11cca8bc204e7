from __future__ import annotations

import io

import pytest
from file_builders import a_paragraph, a_pdf, a_pdf_of_lines, extracted
from reportlab.pdfgen import canvas
from reportlab.platypus import ListFlowable, ListItem, Table

from casemate.library.parse import Extracted, Limits, Unreadable
from casemate.library.parse.layout import unwrapped

PROSE = (
    "Die Gemeinde erhebt für die Erteilung einer Baugenehmigung eine Gebühr. Sie beträgt "
    "50 Euro und ist bis zum 15. Dezember zu zahlen, es sei denn, der Antrag wird nach dem "
    "1. Januar gestellt. Die Frist verlängert sich um 30 Tage."
)


def page_text(document: Extracted, number: int) -> str:
    page = document.pages[number - 1]
    return document.text[page.start : page.end]


def test_wrapped_lines_become_paragraphs_again() -> None:
    content = a_pdf([a_paragraph("Satzung", "Heading1"), a_paragraph(PROSE), a_paragraph(PROSE)])
    assert extracted("a.pdf", content).text == f"Satzung\n\n{PROSE}\n\n{PROSE}"


def test_pages_and_headings_know_their_places() -> None:
    content = a_pdf(
        [a_paragraph("Satzung", "Heading1"), a_paragraph(PROSE)],
        [a_paragraph("Gebühren", "Heading2"), a_paragraph(PROSE)],
        title="Die Satzung",
    )
    document = extracted("a.pdf", content)
    assert [page.number for page in document.pages] == [1, 2]
    assert page_text(document, 2) == f"Gebühren\n\n{PROSE}"
    found = [(document.text[h.start : h.end], h.level) for h in document.headings]
    assert found == [("Satzung", 1), ("Gebühren", 2)]
    assert document.title == "Die Satzung"


def test_list_items_and_table_rows_keep_their_lines() -> None:
    items = ListFlowable(
        [ListItem(a_paragraph(text)) for text in ("ein Plan", "ein Foto")], bulletType="bullet"
    )
    rows = Table([["Leistung", "Gebühr"], ["Ausweis", "14 Euro"]])
    content = a_pdf([a_paragraph(PROSE), items, a_paragraph(PROSE), rows])
    assert extracted("a.pdf", content).text == (
        f"{PROSE}\n\n• ein Plan\n• ein Foto\n\n{PROSE}\n\nLeistung | Gebühr\nAusweis | 14 Euro"
    )


def test_a_word_is_put_together_only_when_it_goes_on_in_lower_case() -> None:
    assert unwrapped(["die Genehmi-", "gung"]) == "die Genehmigung"
    assert unwrapped(["die Luxem\ufffeburger"]) == "die Luxemburger"
    assert unwrapped(["die Nord-", "Süd-Achse"]) == "die Nord-Süd-Achse"
    assert unwrapped(["Bau-", "und Planungsrecht"]) == "Bau- und Planungsrecht"
    assert unwrapped(["rendez-", "vous"]) == "rendez-vous"


def test_an_encrypted_pdf_is_refused_with_what_to_do() -> None:
    with pytest.raises(Unreadable) as refusal:
        extracted("a.pdf", a_pdf([a_paragraph(PROSE)], encrypt="secret"))
    assert refusal.value.reason == "is encrypted: remove the password and add it again"


@pytest.mark.parametrize("part", [0.3, 0.6, 0.97])
def test_a_truncated_pdf_is_refused_rather_than_read_in_part(part: float) -> None:
    content = a_pdf_of_lines(20, 20)
    with pytest.raises(Unreadable, match="is damaged"):
        extracted("a.pdf", content[: int(len(content) * part)])


@pytest.mark.parametrize("content", [b"%PDF-1.7\n%%EOF", b"no pdf", b"no pdf %%EOF"])
def test_what_is_no_pdf_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable, match="is damaged"):
        extracted("a.pdf", content)


def test_a_pdf_without_text_asks_for_ocr() -> None:
    with pytest.raises(Unreadable, match="OCR it first"):
        extracted("a.pdf", a_pdf_of_lines(3, 0))


def test_two_thousand_pages_keep_their_numbers() -> None:
    document = extracted("a.pdf", a_pdf_of_lines(2000))
    assert len(document.pages) == 2000
    assert all(
        page_text(document, number) == f"Seite {number}, Zeile 0." for number in (1, 777, 2000)
    )


def test_more_pages_than_the_limit_are_refused() -> None:
    with pytest.raises(Unreadable, match="has more than 2 pages"):
        extracted("a.pdf", a_pdf_of_lines(3), Limits(pages=2))


def test_running_headers_and_page_numbers_are_left_out() -> None:
    file = io.BytesIO()
    sheet = canvas.Canvas(file)
    for page in range(1, 4):
        sheet.drawString(72, 800, f"Satzung der Gemeinde, Seite {page} von 3")
        sheet.drawString(72, 700, f"Der Satz {page} steht hier.")
        sheet.drawString(72, 600, "Immer gleich.")
        sheet.drawString(72, 40, "Stand 2025")
        sheet.showPage()
    sheet.save()
    document = extracted("a.pdf", file.getvalue())
    assert [page_text(document, page) for page in (1, 2, 3)] == [
        f"Der Satz {page} steht hier.\n\nImmer gleich." for page in (1, 2, 3)
    ]


def test_a_bold_line_is_a_heading_below_the_larger_ones() -> None:
    content = a_pdf(
        [
            a_paragraph("Satzung", "Heading1"),
            a_paragraph(PROSE),
            a_paragraph("<b>2.1 Fristen</b>"),
            a_paragraph(PROSE),
            a_paragraph("<b>Hinweis:</b> " + PROSE),
        ]
    )
    document = extracted("a.pdf", content)
    found = [(document.text[h.start : h.end], h.level) for h in document.headings]
    assert found == [("Satzung", 1), ("2.1 Fristen", 2)]
    assert document.text.endswith(f"\n\nHinweis: {PROSE}")


def test_an_empty_page_keeps_its_number() -> None:
    content = a_pdf([a_paragraph("Eins.")], [a_paragraph("")], [a_paragraph("Drei.")])
    document = extracted("a.pdf", content)
    numbers = {page.number for page in document.pages if "Drei" in page_text(document, page.number)}
    assert numbers == {len(document.pages)}
