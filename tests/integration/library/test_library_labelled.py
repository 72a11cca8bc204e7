"""Labels of collections and documents as they travel, and labels that came from elsewhere."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest
from house_builders import FEES, House

from casemate.errors import CasemateError, Invalid, NotFound, Refused
from casemate.gate.confidentiality import Confidentiality, Originator
from casemate.gate.country import Country

LU = Country.load("lu").policy


def a_label(text: str, name: str = "office@example.org") -> bytes:
    return Confidentiality(
        LU.parse(text),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2030, 6, 1, tzinfo=UTC),
        Originator("rfc822Name", name),
    ).xml()


def test_a_document_takes_its_label_along_with_who_gave_it_and_when(house: House) -> None:
    house.clear_owner_for("secret/alpha")
    house.collection("safe", "restricted/alpha", review="2029-01-01T00:00:00Z")
    added = house.add("safe", fees=FEES)["fees.md"]
    assert added.document is not None
    found = house.installation.labelled.document(house.owner, added.document)
    assert str(found.label) == "lu:restricted/alpha"
    assert found.review == datetime(2029, 1, 1, tzinfo=UTC)
    assert found.originator is not None
    assert found.originator.name.endswith("/" + house.owner.principal.pseudonym)
    assert Confidentiality.parse(found.xml(), LU) == found


def test_a_label_is_looked_at_again_after_the_years_of_the_country_pack(house: House) -> None:
    house.collection("notes")
    found = house.installation.labelled.collection(house.owner, "notes")
    assert found.review is not None
    assert found.review.year == found.created.year + 5


def test_a_collection_is_made_with_a_label_from_elsewhere(house: House) -> None:
    house.clear_owner_for("secret+nato/nato.atomal//rel=LU")
    text = "nato:secret/nato.atomal//rel=FR,LU"
    made = house.installation.labelled.adopt(house.owner, a_label(text), "partner")
    assert str(made.label) == text
    found = house.installation.labelled.collection(house.owner, "partner")
    assert found.originator == Originator("rfc822Name", "office@example.org")
    assert found.review == datetime(2030, 6, 1, tzinfo=UTC)


def test_a_label_above_ones_clearance_is_not_taken_in(house: House) -> None:
    with pytest.raises(Refused, match="above your clearance"):
        house.installation.labelled.adopt(house.owner, a_label("secret"), "partner")
    with pytest.raises(Invalid):
        house.installation.labelled.adopt(house.owner, b"<x/>", "partner")
    assert house.installation.library.collections(house.owner) == []


def test_the_label_of_what_is_hidden_and_of_what_is_absent_are_one_refusal(house: House) -> None:
    house.clear_owner_for("secret")
    house.collection("safe", "secret")
    document = house.add("safe", fees=FEES)["fees.md"].document
    bob, labelled = house.person("bob"), house.installation.labelled

    def refusal(act: object, id: str) -> tuple[type, str]:
        with pytest.raises(CasemateError) as caught:
            act(bob, id)  # type: ignore[operator]
        return type(caught.value), str(caught.value).replace(id, "ID")

    hidden, absent = (refusal(labelled.document, id) for id in (str(document), "d_x"))
    assert hidden == absent
    assert hidden[0] is NotFound
    assert refusal(labelled.collection, "safe") == refusal(labelled.collection, "none")


def test_what_has_no_usable_label_is_read_by_nobody(house: House) -> None:
    house.clear_owner_for("top-secret")
    house.use_case("office", "top-secret")
    house.add("broken", fees=FEES)
    house.add("whole", fees=FEES)
    library = house.installation.library
    (broken,) = library.documents(house.owner, "broken")
    for label in ("", "lu:", "lu:geheim", "xx:secret", "unclassified\n"):
        with sqlite3.connect(house.folder / "casemate.sqlite") as connection:
            connection.execute("UPDATE collections SET label = ? WHERE name = 'broken'", (label,))
            connection.execute(
                "UPDATE passages SET label = ? WHERE document = ?", (label, broken.id)
            )
        connection.close()
        assert [one.name for one in library.collections(house.owner)] == ["whole"]
        with pytest.raises(NotFound):
            library.text(house.owner, broken.id)
        hits = library.search(house.owner, "dog tax", use_case="office")
        assert {hit.passage.collection for hit in hits} == {"whole"}


def test_a_passage_without_a_usable_label_is_not_found(house: House) -> None:
    house.add("notes", fees=FEES)
    assert house.installation.library.search(house.owner, "dog tax")
    with sqlite3.connect(house.folder / "casemate.sqlite") as connection:
        connection.execute("UPDATE passages SET label = ''")
    connection.close()
    assert house.installation.library.search(house.owner, "dog tax") == []


def test_who_has_no_usable_clearance_reads_nothing(house: House) -> None:
    house.add("notes", fees=FEES)
    house.person("bob")
    with sqlite3.connect(house.folder / "casemate.sqlite") as connection:
        connection.execute("UPDATE principals SET clearance = '' WHERE name = 'bob'")
    connection.close()
    with pytest.raises(Invalid):
        house.installation.gate.principals.named("bob")


def test_a_run_on_nato_documents_needs_somebody_briefed_for_nato(house: House) -> None:
    house.clear_owner_for("secret+nato")
    house.collection("allied", "nato:restricted")
    house.add("allied", fees=FEES)
    house.use_case("liaison", "nato:secret")
    ida = house.person("ida", "secret+nato")
    bob = house.person("bob", "top-secret")
    seen = house.ask("How much is the dog tax?", ida, use_case="liaison")
    assert seen.label == "nato:restricted"
    assert seen.answer.citations
    hidden = house.ask("How much is the dog tax?", bob, use_case="liaison")
    assert not hidden.answer.citations
    assert house.installation.library.collections(bob) == []


def test_a_mixture_of_policies_that_together_are_above_the_ceiling_is_refused(
    house: House,
) -> None:
    house.clear_owner_for("secret+eu+nato")
    house.collection("allied", "nato:restricted")
    house.collection("european", "eu:restricted")
    house.add("allied", fees=FEES)
    house.add("european", tax="# Tax\n\nThe dog tax of the union is 50 euros.\n")
    house.use_case("liaison", "lu:secret+eu+nato")
    house.use_case("half", "lu:secret+nato")
    ida = house.person("ida", "secret+eu+nato")
    both = house.ask("How much is the dog tax?", ida, use_case="liaison")
    assert house.label(both.label) == house.label("eu:restricted+nato")
    one = house.ask("How much is the dog tax?", ida, use_case="half")
    assert one.label == "nato:restricted"
