from __future__ import annotations

import odfdo
import pytest
from file_builders import an_odt, extracted, rezipped

from casemate.library.parse import Limits, Unreadable


def a_table() -> odfdo.Table:
    table = odfdo.Table("Tarife", width=2, height=2)
    table.set_values([["Leistung", "Gebühr"], ["Ausweis", "14 €"]])
    return table


def test_paragraphs_lists_and_tables_come_in_order() -> None:
    content = an_odt(
        odfdo.Header(1, "Gebühren"),
        odfdo.Paragraph("Ein  Absatz.\tTab\nNeue Zeile."),
        odfdo.Header(2, "Liste"),
        odfdo.List(["eins", "zwei"]),
        a_table(),
        odfdo.Paragraph("Ende."),
        title="Ordnung",
    )
    document = extracted("a.odt", content)
    assert document.text == (
        "Gebühren\n\nEin  Absatz.\tTab\nNeue Zeile.\n\nListe\n\n- eins\n- zwei\n\n"
        "Leistung | Gebühr\nAusweis | 14 €\n\nEnde."
    )
    assert document.title == "Ordnung"
    assert [h.level for h in document.headings] == [1, 2]


def test_comments_are_left_out_and_notes_follow() -> None:
    paragraph = odfdo.Paragraph("Der Satz steht hier.")
    paragraph.insert_annotation(after="Satz", body="Kommentar", creator="x")
    paragraph.insert_note(after="steht", note_id="n1", citation="1", body="Fußnote.")
    assert extracted("a.odt", an_odt(paragraph)).text == "Der Satz steht hier.\n\nFußnote."


def test_an_encrypted_odt_is_refused_with_what_to_do() -> None:
    content = an_odt(odfdo.Paragraph("x"))
    manifest = b"<m><manifest:encryption-data/></m>"
    with pytest.raises(Unreadable, match="is encrypted"):
        extracted("a.odt", rezipped(content, **{"META-INF/manifest.xml": manifest}))


def test_a_zip_bomb_is_refused() -> None:
    bomb = rezipped(an_odt(odfdo.Paragraph("x")), **{"Pictures/a.png": bytes(3 << 20)})
    with pytest.raises(Unreadable, match="would unpack to more than 2 MB"):
        extracted("a.odt", bomb, Limits(unpacked_bytes=2 << 20))


def test_entities_are_refused() -> None:
    xml = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16")
    with pytest.raises(Unreadable, match="XML entities"):
        extracted("a.odt", rezipped(an_odt(odfdo.Paragraph("x")), **{"content.xml": xml}))


@pytest.mark.parametrize("missing", ["content.xml", "META-INF/manifest.xml"])
def test_an_odt_without_a_main_part_is_refused(missing: str) -> None:
    with pytest.raises(Unreadable, match="is damaged"):
        extracted("a.odt", rezipped(an_odt(odfdo.Paragraph("x")), **{missing: None}))


def test_a_spreadsheet_under_a_false_name_is_refused() -> None:
    import io

    file = io.BytesIO()
    odfdo.Document("spreadsheet").save(file)
    with pytest.raises(Unreadable, match="is not a text document"):
        extracted("a.odt", file.getvalue())
