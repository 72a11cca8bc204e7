"""Letting a bundle in: quarantine, verify, promote; and everything that is refused."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from bundle_builders import a_source, bundle_entries, keys, made, nothing_left, received, trusting
from house_builders import DOG_TAX, FEES, House, a_house

from casemate.errors import (
    Conflict,
    Invalid,
    NotFound,
    Refused,
    Tampered,
    Unavailable,
)
from casemate.models.bundle import arrival
from casemate.models.bundle.keys import make_key, read_public

FEES_PATH = "documents/town hall/fees.md"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[House]:
    """The house behind the air gap; it trusts Anna and Bob."""
    with a_house(tmp_path / "far") as opened:
        trusting(opened, tmp_path)
        yield opened


@pytest.fixture
def bundle(house: House, tmp_path: Path) -> Path:
    out = tmp_path / "out.bundle"
    sources = [
        a_source(FEES_PATH, FEES.encode(), house),
        a_source("policies/more.cedar", b"// nothing\n", house),
    ]
    made(house, out, sources, note="For the station.")
    return out


def test_a_bundle_comes_in_and_each_step_is_on_record(
    house: House, far: House, bundle: Path
) -> None:
    outcomes, last = received(far, bundle)
    assert outcomes == {
        "town hall/fees.md": "added",
        f"{last.folder}/policies/more.cedar": "placed",
    }
    assert last.signers == ("anna", "bob")
    assert "40 euros" in far.ask(DOG_TAX).answer.text  # type: ignore[union-attr]
    kinds = [one["kind"] for one in bundle_entries(far)]
    assert kinds[-3:] == ["bundle.quarantined", "bundle.verified", "bundle.promoted"]
    assert {one["bundle"] for one in bundle_entries(far)[-3:]} == {last.digest}
    [out] = [one for one in bundle_entries(house) if one["kind"] == "bundle.made"]
    assert out["bundle"] == last.digest
    # Neither names nor paths are in the ledger.
    assert "town hall" not in json.dumps([*bundle_entries(far), *bundle_entries(house)])


def test_what_came_in_a_bundle_was_labelled_where_it_was_made(
    house: House, far: House, bundle: Path
) -> None:
    received(far, bundle)
    (document,) = far.installation.library.documents(far.owner, "town hall")
    origin = house.installation.log.vkey.split("+", 1)[0]
    label = far.installation.labelled.document(far.owner, document.id)
    assert label.originator is not None
    assert label.originator.name == f"casemate:{origin}"


def test_its_papers_stay_for_people_to_look_at(far: House, bundle: Path) -> None:
    _, last = received(far, bundle)
    kept = far.folder / last.folder
    assert sorted(path.name for path in kept.iterdir()) == [
        "custody.json",
        "manifest.json",
        "manifest.sig.1",
        "manifest.sig.2",
        "policies",
    ]
    steps = json.loads((kept / "custody.json").read_bytes())
    assert [one["act"] for one in steps] == ["made", "made", "received"]
    assert steps[0]["note"] == "For the station."
    assert len(bundle_entries(far)[-1]["custody"]) == 3
    # The proposal is a file; what is in force is what was.
    assert (kept / "policies/more.cedar").read_bytes() == b"// nothing\n"
    assert not (far.folder / "policies" / "more.cedar").exists()
    assert not (far.folder / "quarantine").exists()


@pytest.mark.parametrize("place", [0, 130, 600, -1, -1025, -1600])
def test_an_altered_bundle_is_refused_and_leaves_nothing(
    far: House, bundle: Path, place: int
) -> None:
    content = bytearray(bundle.read_bytes())
    content[place] ^= 4
    bundle.write_bytes(content)
    with pytest.raises((Tampered, Invalid)):
        received(far, bundle)
    assert nothing_left(far)
    assert bundle_entries(far)[-1]["kind"] == "bundle.refused"
    assert bundle_entries(far)[-1]["reason"] in ("tampered", "invalid")
    assert "town hall" not in {one.name for one in far.installation.library.collections(far.owner)}


def test_a_bundle_that_was_cut_is_refused_and_leaves_nothing(far: House, bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes()[:-1030])
    with pytest.raises(Tampered, match="ends too early"):
        received(far, bundle)
    assert nothing_left(far)


def test_a_key_that_is_not_trusted_is_refused_before_its_words_are_read(
    far: House, bundle: Path
) -> None:
    far.installation.bundles.distrust(far.owner, "bob")
    with pytest.raises(Refused, match="not trusted") as refusal:
        received(far, bundle)
    assert "bundle trust add" in refusal.value.next
    assert nothing_left(far)
    entry = bundle_entries(far)[-1]
    assert (entry["kind"], entry["reason"]) == ("bundle.refused", "refused")
    assert "sequence" not in entry


def test_a_bundle_does_not_come_in_twice_nor_after_a_newer_one(
    house: House, far: House, bundle: Path, tmp_path: Path
) -> None:
    newer = tmp_path / "newer.bundle"
    made(house, newer, [a_source("policies/a.cedar", b"", house)], sequence=5)
    received(far, newer)
    for older in (newer, bundle):
        with pytest.raises(Refused, match="not newer than bundle 5"):
            received(far, older)
    newest = tmp_path / "newest.bundle"
    made(house, newest, [a_source("policies/a.cedar", b"", house)], sequence=6)
    received(far, newest)


@pytest.mark.parametrize("how", ["lost", "put back"])
def test_a_book_that_was_lost_or_put_back_lets_nothing_older_in(
    house: House, far: House, bundle: Path, tmp_path: Path, how: str
) -> None:
    book = far.folder / "bundles.json"
    before = book.read_bytes()
    received(far, bundle)
    if how == "put back":
        book.write_bytes(before)
    else:
        book.unlink()
        trusting(far, tmp_path)
    with pytest.raises(Refused, match="not newer"):
        received(far, bundle)


def test_sequences_are_counted_for_each_origin(far: House, tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        with a_house(tmp_path / name) as station:
            out = tmp_path / f"{name}.bundle"
            made(station, out, [a_source("policies/a.cedar", b"", station)], sequence=9 - number)
        received(far, out)


def test_a_bundle_above_ones_clearance_is_refused(house: House, far: House, tmp_path: Path) -> None:
    house.clear_owner_for("lu:secret")
    out = tmp_path / "secret.bundle"
    made(house, out, [a_source("documents/x/a.md", b"x", house, "secret")])
    with pytest.raises(Refused, match="label-must-be-dominated"):
        received(far, out)
    assert nothing_left(far)
    far.clear_owner_for("lu:secret")
    received(far, out)
    assert str(far.installation.library.collection(far.owner, "x").label) == "lu:secret"


def test_people_without_the_right_neither_make_nor_receive(
    house: House, far: House, bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(Refused):
        received(far, bundle, far.person("user"))
    with pytest.raises(Refused):
        made(house, tmp_path / "x", [a_source("policies/a", b"", house)], actor=house.person("u"))
    with pytest.raises(Refused):
        far.installation.bundles.trust(far.person("other"), "eve", keys(tmp_path)[0].public)
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_said_before_anything_is_written(
    far: House, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(far.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(Unavailable, match="no room"):
        received(far, bundle)
    assert nothing_left(far)


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(
    far: House, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(place: Path) -> BinaryIO:
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(arrival, "_create", full)
    with pytest.raises(Unavailable, match="full"):
        received(far, bundle)
    assert nothing_left(far)
    monkeypatch.undo()
    received(far, bundle)


def test_what_a_crash_left_is_gone_at_the_next_start(tmp_path: Path) -> None:
    with a_house(tmp_path / "data"):
        pass
    left = tmp_path / "data" / "quarantine" / "0123"
    left.mkdir(parents=True)
    (left / "000001").write_bytes(b"x")
    with a_house(tmp_path / "data"):
        assert not left.parent.exists()


def test_documents_do_not_come_into_a_collection_with_another_label(
    far: House, bundle: Path
) -> None:
    far.clear_owner_for("lu:restricted")
    far.collection("town hall", "restricted")
    with pytest.raises(Refused, match="lu:restricted here"):
        received(far, bundle)
    assert nothing_left(far)
    assert bundle_entries(far)[-1]["kind"] == "bundle.refused"
    other = far.person("other", roles=("admin", "user"))
    with pytest.raises(Conflict):  # nor does it for whoever does not see that collection
        received(far, bundle, other)


def test_a_bundle_that_could_not_be_handed_on_may_come_again(
    far: House, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(actor: Any, members: Any) -> Iterator[Any]:
        raise Unavailable("The library is closed today.", "Come again.")
        yield

    with monkeypatch.context() as patched:
        patched.setitem(far.installation.bundles._promote, "document", broken)
        with pytest.raises(Unavailable, match="today"):
            received(far, bundle)
    assert nothing_left(far)
    received(far, bundle)


def test_documents_that_are_here_already_stay_as_they_are(
    house: House, far: House, bundle: Path, tmp_path: Path
) -> None:
    received(far, bundle)
    again = tmp_path / "again.bundle"
    sources = [
        a_source(FEES_PATH, FEES.encode(), house),
        a_source("documents/town hall/odd.pdf", b"no pdf", house),
    ]
    made(house, again, sources, sequence=2)
    outcomes, _ = received(far, again)
    assert outcomes == {"town hall/fees.md": "unchanged", "town hall/odd.pdf": "unread"}


def test_a_bundle_comes_through_a_pipe(far: House, bundle: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sender = threading.Thread(target=lambda: pipe.write_bytes(bundle.read_bytes()))
    sender.start()
    outcomes, _ = received(far, pipe)
    sender.join(30)
    assert outcomes["town hall/fees.md"] == "added"


@pytest.mark.parametrize("what", ["folder", "nothing", "device", "text"])
def test_what_is_no_bundle_is_refused(far: House, tmp_path: Path, what: str) -> None:
    places: dict[str, Path] = {"folder": tmp_path, "device": Path("/dev/null")}
    place = places.get(what, tmp_path / what)
    if what == "text":
        place.write_text("hello " * 1000)
    with pytest.raises((Invalid, NotFound)):
        received(far, place)
    assert nothing_left(far)


def test_keys_are_trusted_once_by_one_name_each(far: House, tmp_path: Path) -> None:
    bundles = far.installation.bundles
    anna = read_public(tmp_path / "anna.pub")
    for name, key in (("anna", make_key(tmp_path / "new")), ("eve", anna)):
        with pytest.raises(Conflict):
            bundles.trust(far.owner, name, key)
    with pytest.raises(Invalid):
        bundles.trust(far.owner, "Not A Name", make_key(tmp_path / "newer"))
    assert [one.name for one in bundles.trusted(far.owner)] == ["anna", "bob"]
    bundles.distrust(far.owner, "anna")
    with pytest.raises(NotFound):
        bundles.distrust(far.owner, "anna")
    kinds = [one["kind"] for one in bundle_entries(far)]
    assert kinds == ["bundle.key_trusted", "bundle.key_trusted", "bundle.key_removed"]


@pytest.mark.parametrize("content", [b"{", b'{"v":2}', b'{"trusted":[{"name":"x"}]}', b"[]"])
def test_a_damaged_book_trusts_nobody(far: House, bundle: Path, content: bytes) -> None:
    (far.folder / "bundles.json").write_bytes(content)
    with pytest.raises(Invalid, match="damaged"):
        received(far, bundle)


def test_a_label_that_is_not_that_of_the_contents_is_refused(
    house: House, far: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A maker that lies: the join is said to be lower than what is inside.
    lowest: Any = house.label("unclassified")
    house.clear_owner_for("lu:secret")
    monkeypatch.setattr(type(lowest), "join", lambda self, other: self)
    sources = [
        a_source("documents/a/a.md", b"x", house),
        a_source("documents/b/b.md", b"x", house, "secret"),
    ]
    made(house, tmp_path / "x.bundle", sources)
    monkeypatch.undo()
    with pytest.raises(Tampered, match="label of the bundle"):
        received(far, tmp_path / "x.bundle")
