from __future__ import annotations

from file_builders import extracted

SAMPLE = """<!doctype html><html><head><title>Über
 uns</title><style>p{}</style></head><body>
<nav>Start Kontakt</nav><script>var x</script><template>t</template>
<h1>Über <em>uns</em></h1>
<p>Ein   Absatz &amp; mehr<br>neue Zeile</p>lose Worte
<div>Block <p>innen</p> danach</div>
<ul><li>eins<li>zwei<ol><li>drei</ol></ul>
<table><caption>Tarife</caption><tr><th>Leistung<th>Gebühr</tr>
<tr><td><p>Aus</p><p>weis</p></td><td>14&nbsp;€</td></tr></table>
<p hidden>geheim</p><p style="display: none">auch</p>
<pre>a
  b</pre><h2>Ende</h2>
</body></html>"""


def test_html_becomes_what_a_reader_sees() -> None:
    assert extracted("a.html", SAMPLE.encode()).text == (
        "Über uns\n\n"
        "Ein Absatz & mehr\nneue Zeile\n\n"
        "lose Worte\n\n"
        "Block\n\ninnen\n\ndanach\n\n"
        "- eins\n- zwei\n1. drei\n\n"
        "Tarife\n\n"
        "Leistung | Gebühr\nAus weis | 14 €\n\n"
        "a\n  b\n\n"
        "Ende"
    )


def test_title_and_headings_are_found() -> None:
    document = extracted("a.htm", SAMPLE.encode())
    assert document.title == "Über uns"
    assert [h.level for h in document.headings] == [1, 2]


def test_the_character_set_of_the_meta_element_counts() -> None:
    page = '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2"><p>Łódź'
    assert extracted("a.html", page.encode("iso-8859-2")).text == "Łódź"


def test_an_unknown_character_set_does_no_harm() -> None:
    assert (
        extracted("a.html", '<meta charset="klingon"><p>Gebühr'.encode("cp1252")).text == "Gebühr"
    )


def test_deeply_nested_elements_are_read() -> None:
    assert extracted("a.html", b"<div>" * 3000 + b"<i>" * 500 + b"deep").text == "deep"


def test_a_table_inside_a_table_becomes_one_row_of_the_outer() -> None:
    page = "<table><tr><td>a<table><tr><td>b<td>c</table><td>d</table>"
    assert extracted("a.html", page.encode()).text == "a b c | d"
