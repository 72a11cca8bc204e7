"""Search: what may be read, best first, the same every time."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from house_builders import FEES, PAYROLL, WASTE, House

from casemate.errors import Invalid, NotFound
from casemate.language.thesaurus import Alike
from casemate.library.index import Indexed, TantivyIndex
from casemate.library.ranking import Terms


def names(hits: list) -> list[str]:
    return [hit.passage.document_name for hit in hits]


@pytest.fixture
def filled(house: House) -> House:
    house.clear_owner_for("restricted")
    house.add("notes", fees=FEES)
    house.add("more", waste=WASTE)
    house.collection("payroll", "restricted")
    house.add("payroll", payroll=PAYROLL)
    house.use_case("office", "restricted")
    return house


def test_a_hit_says_where_it_stands_and_why(filled: House) -> None:
    (hit,) = filled.installation.library.search(filled.owner, "Where does the glass go?")
    passage = hit.passage
    assert (passage.document_name, passage.collection, passage.page) == ("waste.md", "more", None)
    text = filled.installation.library.text(filled.owner, passage.document)
    assert text[passage.start : passage.end] == passage.text
    assert (passage.title, passage.heading) == ("Waste", "Waste")
    assert hit.why == ("glass",)
    assert hit.score > 0


@pytest.mark.parametrize("query", ["DOG TAX", "dog  tax?!", "dog-tax", "dog taxes", "«dog» tax"])
def test_case_marks_and_inflection_do_not_hide_a_passage(filled: House, query: str) -> None:
    assert names(filled.installation.library.search(filled.owner, query)) == ["fees.md"]


def test_collections_narrow_a_search(filled: House) -> None:
    library, owner = filled.installation.library, filled.owner
    query = "collected tax permit container"
    assert set(names(library.search(owner, query))) == {"fees.md", "waste.md"}
    assert names(library.search(owner, query, collections=("more",))) == ["waste.md"]
    both = library.search(owner, query, collections=("more", "notes"))
    assert set(names(both)) == {"fees.md", "waste.md"}
    with pytest.raises(NotFound):
        library.search(owner, query, collections=("more", "nowhere"))


def test_the_use_cases_ceiling_bounds_a_search_below_ones_clearance(filled: House) -> None:
    library, owner = filled.installation.library, filled.owner
    assert library.search(owner, "salary") == []
    assert names(library.search(owner, "salary", use_case="office")) == ["payroll.md"]


def test_the_filter_is_inside_the_query_so_that_hidden_passages_take_no_place(
    filled: House,
) -> None:
    many = {f"pay{number}": f"# Dog\n\nDog dog dog tax {number}." for number in range(60)}
    filled.add("payroll", **many)
    bob = filled.person("bob")
    assert names(filled.installation.library.search(bob, "dog tax", limit=1)) == ["fees.md"]


def test_what_the_database_forbids_is_dropped_even_when_the_index_still_has_it(
    filled: House,
) -> None:
    library = filled.installation.library
    bob = filled.person("bob")
    index = library._index
    assert isinstance(index, TantivyIndex)
    (payroll,) = library.documents(filled.owner, "payroll")
    notes = library.collection(filled.owner, "notes")
    with filled.installation.database.read() as connection:
        id = connection.execute(
            sa.text("SELECT id FROM passages WHERE document = :d"), {"d": payroll.id}
        ).scalar_one()
    # The index lies: it says that the payroll's passage belongs to the open notes.
    index.apply(add=[Indexed(id, payroll.id, notes.id, "lu:unclassified", PAYROLL)])
    admission = filled.installation.gate.admit(bob, use_case=None)
    proposed = index.candidates(
        Terms.of("salary", Alike()),
        collections=admission.collections,
        labels=["lu:unclassified"],
        limit=9,
    )
    assert proposed == [id]
    assert library.find("salary", admission) == []


def test_a_passage_relabelled_in_the_database_is_hidden_at_once(filled: House) -> None:
    library, bob = filled.installation.library, filled.person("bob")
    assert library.search(bob, "dog tax")
    with filled.installation.database.write() as connection:
        connection.execute(
            sa.text("UPDATE passages SET label = 'lu:secret' WHERE text LIKE '%dog%'")
        )
    assert library.search(bob, "dog tax") == []


@pytest.mark.parametrize("state", ["pending", "leaving"])
def test_a_document_on_its_way_is_never_found_and_takes_no_place(filled: House, state: str) -> None:
    many = {f"dog{number}": f"# Dog\n\nDog tax, dog tax {number}." for number in range(40)}
    filled.add("notes", **many)
    with filled.installation.database.write() as connection:
        connection.execute(
            sa.text("UPDATE documents SET state = :s WHERE name LIKE 'dog%'"), {"s": state}
        )
    found = filled.installation.library.search(filled.owner, "dog tax", limit=3)
    assert names(found) == ["fees.md"]


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_limit_out_of_range_is_refused(filled: House, limit: int) -> None:
    with pytest.raises(Invalid, match="out of range"):
        filled.installation.library.search(filled.owner, "tax", limit=limit)


@pytest.mark.parametrize("query", ["", " ", "\n"])
def test_an_empty_query_is_refused(filled: House, query: str) -> None:
    with pytest.raises(Invalid, match="empty"):
        filled.installation.library.search(filled.owner, query)


@pytest.mark.parametrize("query", ["?!", "the of and", "🐕", "x" * 5_000, "a b c d", '" OR 1=1 --'])
def test_a_query_without_topic_or_beyond_sense_finds_nothing_and_breaks_nothing(
    filled: House, query: str
) -> None:
    assert filled.installation.library.search(filled.owner, query) == []


def test_a_search_gives_at_most_its_limit_and_the_same_order_every_time(house: House) -> None:
    many = {f"doc{number:02}": f"# Same\n\nThe same words {number}." for number in range(30)}
    house.add("notes", **many)
    library = house.installation.library
    whole = library.search(house.owner, "the same words", limit=100)
    assert len(whole) == 30
    assert whole == library.search(house.owner, "the same words", limit=100)
    assert [hit.score for hit in whole] == sorted((hit.score for hit in whole), reverse=True)
    for limit in (1, 7, 29):
        assert len(library.search(house.owner, "the same words", limit=limit)) == limit


def test_rarity_is_higher_for_a_word_in_fewer_passages(house: House) -> None:
    many = {f"doc{number}": f"# Doc\n\nCommon words {number}." for number in range(30)}
    house.add("notes", fees=FEES, **many)
    admission = house.installation.gate.admit(house.owner, use_case=None)
    found = house.installation.library.rarity("common parking zeppelin", admission)
    assert found["common"] < found["parking"] < found["zeppelin"]
    assert all(0 <= value <= 1000 for value in found.values())


def test_nothing_is_rare_in_an_empty_library(house: House) -> None:
    admission = house.installation.gate.admit(house.owner, use_case=None)
    assert house.installation.library.rarity("dog", admission) == {"dog": 1000}
    assert house.installation.library.search(house.owner, "dog") == []
