from __future__ import annotations

import struct
from typing import Any

import pytest
from docx.oxml import parse_xml
from file_builders import a_docx, a_zip, extracted, rezipped

from casemate.library.parse import Limits, Unreadable

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def a_letter(document: Any) -> None:
    document.core_properties.title = "Ordnung"
    document.add_heading("Gebühren", 1)
    document.add_paragraph("Ein Absatz.\nNeue Zeile.")
    document.add_heading("Liste", 2)
    document.add_paragraph("eins", style="List Bullet")
    document.add_paragraph("zwei", style="List Number")
    table = document.add_table(2, 2)
    for place, text in enumerate(("Leistung", "Gebühr", "Ausweis\nneu", "14 €")):
        table.cell(place // 2, place % 2).text = text
    document.add_paragraph("Ende.")


def test_paragraphs_lists_and_tables_come_in_order() -> None:
    document = extracted("a.docx", a_docx(a_letter))
    assert document.text == (
        "Gebühren\n\nEin Absatz.\nNeue Zeile.\n\nListe\n\n- eins\n- zwei\n\n"
        "Leistung | Gebühr\nAusweis neu | 14 €\n\nEnde."
    )
    assert document.title == "Ordnung"
    assert [h.level for h in document.headings] == [1, 2]


def test_links_controls_and_insertions_are_read_and_deletions_are_not() -> None:
    def fill(document: Any) -> None:
        document.element.body.insert(
            0,
            parse_xml(
                f"<w:sdt {W}><w:sdtContent><w:p><w:r><w:t>Feld</w:t></w:r></w:p>"
                "</w:sdtContent></w:sdt>"
            ),
        )
        document.element.body.insert(
            1,
            parse_xml(
                f"<w:p {W}><w:hyperlink><w:r><w:t>Link</w:t></w:r></w:hyperlink>"
                "<w:ins><w:r><w:t> neu</w:t></w:r></w:ins>"
                "<w:del><w:r><w:delText> alt</w:delText></w:r></w:del>"
                "<w:r><w:noBreakHyphen/><w:t>x</w:t></w:r></w:p>"
            ),
        )

    assert extracted("a.docx", a_docx(fill)).text == "Feld\n\nLink neu\u2011x"


def test_text_boxes_are_read_once_and_after_their_paragraph() -> None:
    box = "<w:txbxContent><w:p><w:r><w:t>Kasten</w:t></w:r></w:p></w:txbxContent>"
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    paragraph = (
        f"<w:p {W} {mc}><w:r><mc:AlternateContent><mc:Choice><w:drawing>{box}</w:drawing>"
        f"</mc:Choice><mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent>"
        "<w:t>Text</w:t></w:r></w:p>"
    )

    def fill(document: Any) -> None:
        document.element.body.insert(0, parse_xml(paragraph))

    assert extracted("a.docx", a_docx(fill)).text == "Text\n\nKasten"


def test_a_zip_bomb_is_refused_by_its_declared_size() -> None:
    bomb = rezipped(a_docx(a_letter), **{"word/media/image1.png": bytes(3 << 20)})
    assert len(bomb) < 100_000
    with pytest.raises(Unreadable, match="would unpack to more than 2 MB"):
        extracted("a.docx", bomb, Limits(unpacked_bytes=2 << 20))


def test_a_zip_bomb_that_declares_less_than_it_holds_is_refused() -> None:
    name = b"word/media/image1.png"
    bomb = rezipped(a_docx(a_letter), **{name.decode(): bytes(3 << 20)})
    directory = bomb.rindex(name) - 46
    lying = bytearray(bomb)
    struct.pack_into("<I", lying, directory + 24, 1000)
    with pytest.raises(Unreadable):
        extracted("a.docx", bytes(lying), Limits(unpacked_bytes=2 << 20))


def test_entities_are_refused() -> None:
    xml = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    with pytest.raises(Unreadable, match="XML entities"):
        extracted("a.docx", rezipped(a_docx(a_letter), **{"word/document.xml": xml}))


@pytest.mark.parametrize(
    "content",
    [b"not a zip at all", b"PK\x03\x04" + b"x" * 100, a_zip(a=b"b")],
    ids=["text", "torn", "another zip"],
)
def test_what_is_no_docx_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable, match="is damaged"):
        extracted("a.docx", content)


def test_a_truncated_docx_is_refused() -> None:
    content = a_docx(a_letter)
    with pytest.raises(Unreadable, match="is damaged"):
        extracted("a.docx", content[: len(content) // 2])


def test_an_encrypted_docx_is_refused_with_what_to_do() -> None:
    with pytest.raises(Unreadable, match="Remove the password") as refusal:
        extracted("a.docx", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    assert refusal.value.fact.startswith("is encrypted")
