from __future__ import annotations

from file_builders import extracted

SAMPLE = """---
title: "Gebührenordnung 2025"
author: nobody
---
# Gebühren #

Ein [Link](https://example.lu) mit **fett**,
`code` und ![einem Bild](bild.png).

Unterstrichen
-------------

- eins
- zwei
  1. drei
  2. vier

| Leistung | Gebühr |
|----------|-------:|
| Ausweis  | **14 €** |

```python
x = 1
```

Zeile eins<br>Zeile zwei

<div><p>Aus HTML</p><script>alert(1)</script></div>
"""


def test_markdown_becomes_what_a_reader_sees() -> None:
    document = extracted("a.md", SAMPLE.encode())
    assert document.text == (
        "Gebühren\n\n"
        "Ein Link mit fett, code und einem Bild.\n\n"
        "Unterstrichen\n\n"
        "- eins\n- zwei\n1. drei\n2. vier\n\n"
        "Leistung | Gebühr\nAusweis | 14 €\n\n"
        "x = 1\n\n"
        "Zeile eins\nZeile zwei\n\n"
        "Aus HTML"
    )


def test_headings_carry_their_level_and_place() -> None:
    document = extracted("a.md", SAMPLE.encode())
    found = [(document.text[h.start : h.end], h.level) for h in document.headings]
    assert found == [("Gebühren", 1), ("Unterstrichen", 2)]


def test_the_title_comes_from_the_front_matter() -> None:
    assert extracted("a.md", SAMPLE.encode()).title == "Gebührenordnung 2025"


def test_the_title_is_otherwise_the_first_heading() -> None:
    assert extracted("a.markdown", b"Intro\n\n# First\n\n# Second").title == "First"


def test_a_rule_at_the_beginning_is_no_front_matter() -> None:
    assert "Text" in extracted("a.md", b"---\n\nText without an end of front matter").text


def test_two_paragraphs_of_one_item_have_one_marker() -> None:
    assert extracted("a.md", b"- one\n\n  more\n- two").text == "- one\nmore\n- two"


def test_line_ends_of_windows_do_not_matter() -> None:
    windows = SAMPLE.replace("\n", "\r\n").encode()
    assert extracted("a.md", windows).text == extracted("a.md", SAMPLE.encode()).text
