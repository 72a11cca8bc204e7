from __future__ import annotations

import pytest
from file_builders import extracted


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_each_row_becomes_a_line_with_the_names_of_its_columns(delimiter: str) -> None:
    rows = [["Leistung", "Gebühr", "Frist"], ["Ausweis", "14 €", ""], ["Pass", "50 €", "2 Wochen"]]
    content = "\r\n".join(delimiter.join(row) for row in rows).encode()
    assert extracted("a.csv", content).text == (
        "Leistung: Ausweis; Gebühr: 14 €\n\nLeistung: Pass; Gebühr: 50 €; Frist: 2 Wochen"
    )


def test_decimal_commas_do_not_pass_for_delimiters() -> None:
    content = b"Name;Preis\nA;1,50\nB;2,50\nC;3,75\n"
    assert extracted("a.csv", content).text.splitlines()[0] == "Name: A; Preis: 1,50"


def test_quoted_cells_may_hold_delimiters_and_line_ends() -> None:
    content = b'Name,Text\nA,"one, two\nthree ""four"""\n'
    assert extracted("a.csv", content).text == 'Name: A; Text: one, two three "four"'


def test_without_a_header_the_values_stand_alone() -> None:
    assert extracted("a.csv", b"1;2\n3;4\n").text == "1; 2\n\n3; 4"


def test_longer_and_shorter_rows_lose_nothing() -> None:
    assert extracted("a.csv", b"A,B\n1\n1,2,3\n").text == "A: 1\n\nA: 1; B: 2; 3"


def test_a_header_alone_is_kept() -> None:
    assert extracted("a.csv", b"Name;Preis\n").text == "Name; Preis"


def test_one_column_is_read() -> None:
    assert extracted("a.csv", b"Name\nAnna\nBea\n").text == "Name: Anna\n\nName: Bea"
