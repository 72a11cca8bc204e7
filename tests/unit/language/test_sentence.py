from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.language.sentence import sentences

# One paragraph a line; "¦" stands where a sentence ends and the next one begins.
PARAGRAPHS = """\
Die Gebühr beträgt 50 €. ¦ Sie ist bis zum 15. Dezember zu zahlen.
Am 1. Januar 2025 gilt Art. 5 Abs. 2 neu. ¦ Das ist so.
Wir öffnen um 8.30 Uhr. ¦ Die Stadt zahlt 1.250,00 €. ¦ Rufen Sie Tel. 27 12 34 an.
Garagen, z.B. Carports, oder z. B. Häuser bzw. Ställe, d. h. alles. ¦ Ca. 5 Tage.
Siehe www.gemeng.lu. ¦ Anträge an info@gemeng.lu. ¦ Mehr auf https://a.lu/b.html?c=1.2. ¦ Ende.
Dr. J. Muller antwortet Frau Prof. Weber. ¦ Die Frist endet 2024. ¦ Danach nichts.
Die Frist läuft vom 1. bis 15. August. ¦ Im 19. Jahrhundert war es so. ¦ Der 2. Absatz gilt.
Bis 15. 4. 2024 gilt es. ¦ Die Anlage A. ¦ Es sind 10 m. ¦ Mehr nicht.
„Das ist gut.“ ¦ Die Gemeinde (siehe Nr. 5) prüft. ¦ (Das gilt nur hier.) ¦ Ende… ¦ Neu.
Er fragte: „Wirklich?“ und ging. ¦ Warten … dann weiter. ¦ Die Hauptstr. 5 ist zu!
In der Bahnhofstr. wohnt niemand. ¦ Kosten, Steuern usw. ¦ Das ist alles.
Jeder Art. ¦ Nach Art. L. 5 gilt es. ¦ Laut Kap. IV Ziff. 2 nicht.
M. Weber et Mme Le Goff sont là. ¦ « C'est fini. » ¦ Il dit : « Oui. » et part. ¦ Vraiment ? ¦ Oui !
L'art. 5 al. 2 s'applique, cf. p. 12. ¦ Les demandes, p.ex. un permis, etc. ¦ La commune décide.
À déposer avant le 15 mars 2025. ¦ St. Vith est loin. ¦ Le bd. Royal, av. de la Gare, est fermé.
Le tarif est de 3,5 %. ¦ Voir l'article 12. ¦ Le reste suit.
This is Section 5. ¦ The fee is 3.5 percent. ¦ No. ¦ It is not.
See No. 5 and e.g. Annex A. ¦ Applicants must wait.
Open until 5 p.m. on Monday. ¦ We close at 7 p.m. ¦ A day is long.
We close at 7 p.m. ¦ Children leave.
Leistung: Pass; Gebühr: 5 €; Hinweis: Bitte melden. Danke.
Open from 9 a.m. to 5 p.m. on weekdays. ¦ Ask J. R. Smith. ¦ "It works." ¦ Yes?! ¦ Good.
Den 3. Mee ass zou. ¦ D'Gemeng ass vum 1. bis de 15. August zou. ¦ De Büro ass op. ¦ D'3. Klass och.
Dir musst d'Formulaire bis den 31. Dezember ofginn. ¦ Wann net, kascht et 25 €.
Här M. Weber hëlleft.
1. Der Antrag ist schriftlich. ¦ Er ist kostenlos.
a) Der Antrag. ¦ b) Der Plan.
Das Dorf […] Weiler liegt hier. ¦ Das ist wahr.
这是一句话。¦这是第二句！¦好。"""


@pytest.mark.parametrize("paragraph", PARAGRAPHS.splitlines())
def test_sentences_end_where_a_reader_ends_them(paragraph: str) -> None:
    expected = [part.strip() for part in paragraph.split("¦")]
    text = paragraph.replace("¦ ", "").replace("¦", "")
    assert [text[start:end] for start, end in sentences(text)] == expected


LAYOUT = """\
Fees
====
Die Gebühr ist bis zum
15. Dezember zu zahlen und gilt
auch für Garagen. Sie entfällt
später.
Unterlagen:
- Plan
- Foto des
Hauses
1. Antrag
2. Haus

Art | Gebühr
Haus. Groß | 5 €
Tel.: 123
E-mail: a@b.lu
LETZTE BESTIMMUNG
Das gilt
– wie gesagt – immer.
# Titel
Text"""


def test_lines_end_a_sentence_only_where_the_layout_says_so() -> None:
    assert [LAYOUT[start:end] for start, end in sentences(LAYOUT)] == [
        "Fees",
        "====",
        "Die Gebühr ist bis zum\n15. Dezember zu zahlen und gilt\nauch für Garagen.",
        "Sie entfällt\nspäter.",
        "Unterlagen:",
        "- Plan",
        "- Foto des\nHauses",
        "1. Antrag",
        "2. Haus",
        "Art | Gebühr",
        "Haus. Groß | 5 €",
        "Tel.: 123",
        "E-mail: a@b.lu",
        "LETZTE BESTIMMUNG",
        "Das gilt\n– wie gesagt – immer.",
        "# Titel",
        "Text",
    ]


def test_only_the_part_asked_for_is_cut_and_spans_count_from_the_whole() -> None:
    text = "Eins. Zwei. Drei."
    assert sentences(text, 6, 11) == [(6, 11)]
    assert sentences(text, 8) == [(8, 11), (12, 17)]
    assert sentences(text, 5, 6) == []
    assert sentences("") == []


PIECES = st.sampled_from(
    [
        *"\n \t.!?…:;,-–|()[]«»„“”\"'’",
        "\n\n",
        ". ",
        " » ",
        "Art. 5",
        "15. ",
        "Die ",
        "gemeng ",
        "z. B. ",
        "\n- ",
        "\n1. ",
        "M. ",
        "。",
        "x",
        "\u00a0",
        "\u2028",
        "e\u0301",
        "😀",
    ]
)


@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=200))
def test_spans_are_trimmed_ordered_and_hold_everything(text: str) -> None:
    reached = 0
    for start, end in sentences(text):
        assert reached <= start < end <= len(text)
        assert text[reached:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        reached = end
    assert text[reached:].strip() == ""


@given(st.lists(PIECES, max_size=40).map("".join), st.integers(0, 60), st.integers(0, 60))
def test_a_part_is_cut_like_a_text_of_its_own(text: str, start: int, end: int) -> None:
    inner = sentences(text[start:end])
    shift = min(start, len(text))
    assert sentences(text, start, end) == [(first + shift, last + shift) for first, last in inner]


def test_a_long_line_takes_time_in_proportion() -> None:
    assert len(sentences("Ein Satz mit Nr. 5 darin. " * 40_000)) == 40_000
    assert len(sentences("x" * 3_000_000)) == 1
    assert len(sentences("." * 300_000 + " " * 300_000 + "!" * 300_000)) == 2
