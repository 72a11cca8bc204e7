from __future__ import annotations

import codecs
import unicodedata

import pytest
from file_builders import extracted
from hypothesis import given
from hypothesis import strategies as st

from casemate.library.parse import Limits, Unreadable
from casemate.library.parse.draft import clean

GERMAN = "Die Gebühr beträgt für Gewächshäuser 50 €.\nMaß nehmen – „schön“.\n"
FRENCH = "L’élève paie à la commune. Ça coûte 5 € où c’est prévu.\n"


def test_utf8_is_read_as_it_is() -> None:
    assert extracted("a.txt", GERMAN.encode()).text == GERMAN.strip()


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_a_byte_order_mark_is_believed_and_left_out(mark: bytes, encoding: str) -> None:
    assert extracted("a.txt", mark + GERMAN.encode(encoding)).text == GERMAN.strip()


@pytest.mark.parametrize("text", [GERMAN, FRENCH, "Gebühr", "5 €", "§ 3 Größe"])
def test_windows_1252_is_recognised_even_in_short_texts(text: str) -> None:
    assert extracted("a.txt", text.encode("cp1252")).text == text.strip()


def test_text_of_an_old_dos_program_is_recognised() -> None:
    text = "Die Gebühr für die Prüfung beträgt fünfzig Euro und ist jährlich fällig. " * 5
    assert extracted("a.txt", text.encode("cp850")).text == text.strip()


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x01\x02",
        b"Text with\x00 a NUL",
        bytes(range(1, 256)) * 4,
        codecs.BOM_UTF16_LE + b"odd",
        codecs.BOM_UTF8 + b"broken \xff\xfe",
        b"\x89PNG\r\n\x1a\n" + bytes(range(1, 200)),
    ],
)
def test_what_is_not_text_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable, match="is not text"):
        extracted("a.txt", content)


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n ", codecs.BOM_UTF8])
def test_a_file_without_text_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable, match=r"is empty|holds no text"):
        extracted("a.txt", content)


def test_line_ends_and_spaces_are_normalised() -> None:
    text = extracted("a.txt", "a \r\nb\t\r\r\r\rc\x0cd\u2028e\xa0\n".encode()).text
    assert text == "a\nb\n\nc\nd\ne"


def test_letters_are_composed_and_invisible_signs_removed() -> None:
    text = extracted(
        "a.txt", "Gebu\u0308hr \u202egnidaelsim\u202c Ge\u00adnehmigung \u200bx".encode()
    ).text
    assert text == "Gebühr gnidaelsim Genehmigung x"


def test_more_text_than_the_limit_is_refused() -> None:
    with pytest.raises(Unreadable, match="holds more than 10 characters of text"):
        extracted("a.txt", b"x" * 11, Limits(text_characters=10))


@given(st.text(max_size=300))
def test_cleaned_text_keeps_every_promise(text: str) -> None:
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert "\n\n\n" not in cleaned
    assert all(line == line.rstrip() for line in cleaned.split("\n"))
    assert all(unicodedata.category(sign) != "Cc" or sign in "\n\t" for sign in cleaned)
    assert clean(cleaned) == cleaned
    cleaned.encode()
