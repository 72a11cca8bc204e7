"""Collections: one of a name, readers by name; imports in turn."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest
from house_builders import House, a_file, casemate

from casemate.errors import CasemateError, Conflict, Invalid, NotFound, TooMany
from casemate.gate.caller import Caller


def test_of_many_who_make_one_collection_one_does_and_it_is_recorded_once(house: House) -> None:
    many, begin = 8, threading.Barrier(8)
    ended: queue.Queue[object] = queue.Queue()

    def make() -> None:
        begin.wait(30)
        try:
            ended.put(house.collection("same"))
        except CasemateError as problem:
            ended.put(problem)

    threads = [threading.Thread(target=make) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    endings = [ended.get_nowait() for _ in range(many)]
    assert sum(isinstance(one, Conflict) for one in endings) == many - 1
    (made,) = (one for one in endings if not isinstance(one, Conflict))
    recorded = [one for one in house.entries() if one["kind"] == "collection.created"]
    assert [one["collection"] for one in recorded] == [made.id]  # type: ignore[attr-defined]


def test_a_collection_whose_entry_cannot_be_recorded_is_not_made(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(entry: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(house.installation.ledger, "record", broken)
        with pytest.raises(OSError, match="no room"):
            house.collection("notes")
    assert house.installation.library.collections(house.owner) == []
    house.collection("notes")


def names(house: House, caller: Caller) -> list[str]:
    return [one.name for one in house.installation.library.collections(caller)]


def test_readers_are_named_and_shown_by_name(house: House) -> None:
    bob, eve = house.person("Zoé Weber"), house.person("eve")
    carla = house.person("carla", roles=("user", "auditor"))
    made = house.collection("board", readers=("Zoe\u0301 Weber", "role:auditor", "Zoé Weber"))
    assert made.readers == ("Zoé Weber", "role:auditor")
    assert house.installation.library.collection(house.owner, "board") == made
    assert names(house, bob) == names(house, carla) == ["board"]
    assert names(house, eve) == []


def test_a_reader_keeps_reading_under_the_id_and_not_the_name(house: House) -> None:
    house.person("bob")
    house.collection("board", readers=("bob",))
    with house.installation.database.read() as connection:
        stored = connection.exec_driver_sql("SELECT readers FROM collections").scalar()
    assert stored == f'["{house.installation.gate.principals.named("bob").id}"]'


def test_a_reader_whom_there_is_not_is_refused_and_nothing_is_made(house: House) -> None:
    gate = house.installation.gate
    gate.principals.create_tenant(house.owner, "army")
    gate.principals.create(
        house.owner, "sergeant", clearance=house.label("unclassified"), tenant="army"
    )
    answers = set()
    for name in ("nobody", "sergeant", house.owner.principal.id):
        with pytest.raises(NotFound) as caught:
            house.collection("board", readers=(name,))
        answers.add((caught.value.what, caught.value.next))
    assert answers == {
        ("There is nobody of that name.", "`casemate user list` shows who there is.")
    }
    for role in ("role:", "role:king"):
        with pytest.raises(Invalid, match="no role"):
            house.collection("board", readers=(role,))
    assert house.installation.library.collections(house.owner) == []


def test_the_command_line_takes_and_shows_names(tmp_path: Path) -> None:
    data = tmp_path / "data"
    casemate("user", "create", "bob", data=data).fine()
    readers = ["--reader", "bob", "--reader", "role:auditor"]
    casemate("collection", "create", "board", *readers, data=data).fine()
    assert "bob, role:auditor" in casemate("collection", "list", data=data).fine().out
    assert "board" in casemate("collection", "list", "--principal", "bob", data=data).fine().out


def test_a_few_imports_run_some_wait_and_one_more_is_refused(house: House) -> None:
    house.collection("notes")
    library = house.installation.library
    unread = a_file("a.xyz", b"x")
    running = [library.add_all(house.owner, "notes", [unread, unread]) for _ in range(2)]
    for one in running:
        assert next(one).outcome == "unread"
    ended: queue.Queue[object] = queue.Queue()

    def add(number: int) -> None:
        try:
            ended.put(library.add(house.owner, "notes", f"{number}.md", b"Some words."))
        except CasemateError as problem:
            ended.put(problem)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(17)]
    for thread in threads:
        thread.start()
    try:
        assert isinstance(ended.get(timeout=30), TooMany)
    finally:
        for one in running:
            one.close()  # type: ignore[attr-defined]
    outcomes = [ended.get(timeout=60) for _ in range(16)]
    assert {getattr(one, "outcome", one) for one in outcomes} == {"added"}
    for thread in threads:
        thread.join(30)
