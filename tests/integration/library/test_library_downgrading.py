"""A label is lowered by its originator and a second person, with a reason, in a new document."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from house_builders import FEES, House

from casemate.errors import CasemateError, Conflict, Invalid, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.gate.confidentiality import Confidentiality
from casemate.library.downgrading import Downgrades

REASON = "Published in the official journal."
QUESTION = "How much is the dog tax?"


@pytest.fixture
def place(house: House) -> tuple[House, Downgrades, str, Caller]:
    """A secret document of the owner's, an open collection, and a second administrator."""
    house.clear_owner_for("secret")
    house.collection("safe", "secret")
    house.collection("open")
    document = house.add("safe", fees=FEES)["fees.md"].document
    assert document is not None
    second = house.person("second", "secret", roles=("admin", "user"))
    return house, house.installation.downgrades, document, second


Place = tuple[House, Downgrades, str, Caller]


def kinds(house: House) -> list[str]:
    return [one["kind"] for one in house.entries() if one["kind"].startswith("downgrade.")]


def test_two_people_make_a_new_document_and_the_old_one_stays(place: Place) -> None:
    house, downgrades, document, second = place
    library, bob = house.installation.library, house.person("bob")
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    assert asked.state == "requested"
    assert library.documents(bob) == []
    done = downgrades.approve(second, asked.id)
    assert done.state == "approved"
    (made,) = library.documents(bob)
    assert made.id == done.made != document
    assert str(made.label) == "lu:unclassified"
    assert library.original(bob, made.id) == FEES.encode()
    assert str(library.document(house.owner, document).label) == "lu:secret"
    with pytest.raises(NotFound):
        library.document(bob, document)
    assert house.ask(QUESTION, bob).answer.citations
    assert kinds(house) == ["downgrade.requested", "downgrade.approved"]


def test_the_ledger_holds_who_and_from_where_to_where_and_not_the_reason(place: Place) -> None:
    house, downgrades, document, second = place
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    downgrades.approve(second, asked.id)
    entries = [one for one in house.entries() if one["kind"].startswith("downgrade.")]
    assert [one["actor"] for one in entries] == [
        house.owner.principal.pseudonym,
        second.principal.pseudonym,
    ]
    for entry in entries:
        assert (entry["before"], entry["after"]) == ("lu:secret", "lu:unclassified")
        assert entry["document"] == document
        assert REASON not in str(entry)


def test_one_person_is_not_two(place: Place) -> None:
    house, downgrades, document, _ = place
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    with pytest.raises(Refused, match="second person"):
        downgrades.approve(house.owner, asked.id)
    assert kinds(house) == ["downgrade.requested"]


def test_one_of_the_two_gave_the_label(place: Place) -> None:
    house, downgrades, document, second = place
    third = house.person("third", "secret", roles=("admin", "user"))
    asked = downgrades.request(second, document, into="open", reason=REASON)
    with pytest.raises(Refused, match="Neither of you"):
        downgrades.approve(third, asked.id)
    assert downgrades.approve(house.owner, asked.id).state == "approved"


def test_an_owner_stands_in_for_an_originator_who_left(place: Place) -> None:
    house, downgrades, _, second = place
    library = house.installation.library
    gone = house.person("gone", "secret", roles=("admin", "user"))
    library.create_collection(gone, "old", label="secret")
    document = library.add(gone, "old", "a.md", b"# A\n\nSaid.\n").document
    assert document is not None
    asked = downgrades.request(second, document, into="open", reason=REASON)
    with pytest.raises(Refused, match="Neither of you"):
        downgrades.approve(house.owner, asked.id)
    house.installation.gate.principals.disable(house.owner, "gone")
    assert downgrades.approve(house.owner, asked.id).state == "approved"


def test_a_key_decides_nothing(place: Place) -> None:
    house, downgrades, document, second = place
    key = Caller(house.owner.principal, None, "key")
    with pytest.raises(Refused, match="people"):
        downgrades.request(key, document, into="open", reason=REASON)
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    for act in (downgrades.approve, downgrades.reject):
        with pytest.raises(Refused, match="people"):
            act(Caller(second.principal, None, "key"), asked.id)


def test_who_has_only_a_users_rights_does_not_approve(place: Place) -> None:
    house, downgrades, document, _ = place
    ida = house.person("ida", "secret")
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    with pytest.raises(Refused):
        downgrades.approve(ida, asked.id)
    with pytest.raises(Refused):
        downgrades.reject(ida, asked.id)
    with pytest.raises(Refused):
        downgrades.request(ida, document, into="open", reason=REASON)


def test_what_leads_up_or_aside_is_no_downgrade(place: Place) -> None:
    house, downgrades, document, _ = place
    house.clear_owner_for("top-secret+nato/alpha")
    for label in ("secret", "top-secret", "restricted/alpha", "nato:restricted"):
        house.collection(label.replace("/", "-"), label)
        with pytest.raises(Refused, match="not lower"):
            downgrades.request(house.owner, document, into=label.replace("/", "-"), reason=REASON)


def test_a_label_from_elsewhere_is_lowered_there(place: Place) -> None:
    house, downgrades, _, _ = place
    xml = house.installation.labelled.collection(house.owner, "safe")
    partner = Confidentiality(xml.label, xml.created, xml.review, xml.originator).xml()
    house.installation.labelled.adopt(house.owner, partner, "partner")
    document = house.add("partner", fees=FEES)["fees.md"].document
    with pytest.raises(Refused, match="lowered there"):
        downgrades.request(house.owner, str(document), into="open", reason=REASON)


def test_without_a_reason_nothing_is_lowered(place: Place) -> None:
    house, downgrades, document, _ = place
    for reason in ("", "  ", "x" * 2001, "one\x00two"):
        with pytest.raises(Invalid):
            downgrades.request(house.owner, document, into="open", reason=reason)


def test_a_document_that_was_replaced_since_is_not_lowered(place: Place) -> None:
    house, downgrades, document, second = place
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    house.add("safe", fees=FEES + "\nThe code of the vault is 4711.\n")
    with pytest.raises(Conflict):
        downgrades.approve(second, asked.id)
    assert house.installation.library.documents(second, "open") == []


def test_a_document_of_that_name_is_not_replaced(place: Place) -> None:
    house, downgrades, document, second = place
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    house.add("open", fees="# Other\n\nOther fees.\n")
    with pytest.raises(Conflict, match="has a document called"):
        downgrades.approve(second, asked.id)
    with pytest.raises(Conflict, match="has a document called"):
        downgrades.request(house.owner, document, into="open", reason=REASON)


def test_what_is_decided_is_decided_once(place: Place) -> None:
    house, downgrades, document, second = place
    first = downgrades.request(house.owner, document, into="open", reason=REASON)
    downgrades.reject(second, first.id)
    for act in (downgrades.approve, downgrades.reject):
        with pytest.raises(Conflict):
            act(second, first.id)
    again = downgrades.request(house.owner, document, into="open", reason=REASON)
    downgrades.approve(second, again.id)
    with pytest.raises(Conflict):
        downgrades.approve(second, again.id)
    assert kinds(house) == [
        *("downgrade.requested", "downgrade.rejected"),
        *("downgrade.requested", "downgrade.approved"),
    ]


def test_an_approval_that_was_cut_off_is_completed_by_approving_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, downgrades, document, second = place
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    library = house.installation.library

    def broken(*_: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(library, "add", broken)
        with pytest.raises(OSError, match="no room"):
            downgrades.approve(second, asked.id)
    assert library.documents(second, "open") == []
    assert downgrades.approve(second, asked.id).made is not None
    assert kinds(house) == ["downgrade.requested", "downgrade.approved"]


def test_to_who_may_not_read_it_a_downgrade_is_not_there(place: Place) -> None:
    house, downgrades, document, _ = place
    asked = downgrades.request(house.owner, document, into="open", reason=REASON)
    bob = house.person("bob", roles=("admin", "user"))
    assert downgrades.list(bob) == []
    acts: list[Callable[[str], object]] = [
        lambda id: downgrades.get(bob, id),
        lambda id: downgrades.approve(bob, id),
        lambda id: downgrades.reject(bob, id),
    ]
    for act in acts:
        refusals = set()
        for id in (asked.id, "g_absent"):
            with pytest.raises(CasemateError) as caught:
                act(id)
            refusals.add((type(caught.value), str(caught.value)))
        assert len(refusals) == 1
        assert refusals.pop()[0] is NotFound
