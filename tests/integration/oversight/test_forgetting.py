"""Forgetting: what a person left is gone from every byte, and an entry proves it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from house_builders import FEES, House, a_file, a_house, a_server, an_environment, casemate

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.gate.country import Country
from casemate.ledger.receipt import canonical
from casemate.ledger.verify import verify
from casemate.oversight.forgetting import BASES, Forgetting
from casemate.reasoning.event import Request

NAME = "Quirinus Vexelbaum"
QUESTION = "Does my zymurgic okapi need a xylophone licence?"
DIARY = "# Diary\n\nThe glockenspiel of Wiltz sounded sphinxlike on Ash Wednesday.\n"
OPINION = "Phlogiston reasoning, says the reviewer."
TRACES = ("Quirinus", "Vexelbaum", "zymurgic", "okapi", "xylophone", "glockenspiel", "sphinxlike")
STEPS = (*("announced", "shut out", "documents erased", "content erased", "rewritten", "proven"),)


class Killed(BaseException):
    """Stands for a process that ends here."""


def a_person_with_a_life(house: House) -> Caller:
    """Somebody who asked, keeps a diary of their own, gave a paper to all, and was reviewed."""
    house.add("notes", fees=FEES)
    who = house.person(NAME, roles=("user", "admin", "auditor"))
    library = house.installation.library
    library.create_collection(who, "sphinxlike papers", readers=())
    library.add(who, "sphinxlike papers", "glockenspiel.md", DIARY.encode())
    library.add(who, "sphinxlike papers", "fees again.md", FEES.encode())
    library.add(who, "notes", "shared.md", b"Glass is collected on Friday.")
    run = house.ask(QUESTION, who).run
    house.ask("When does the glockenspiel sound?", who)
    auditor = house.person("carla", roles=("auditor", "user"))
    house.installation.reviews.decide(auditor, run, "approved", f"{OPINION} About an okapi.")
    house.key(NAME)
    return who


def traces(folder: Path, words: tuple[str, ...] = (*TRACES, "Phlogiston")) -> list[str]:
    """Where any of ``words`` stands in any file, in any case, as UTF-8 or UTF-16."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_socket():
            content = path.read_bytes().lower()
            found += [
                f"{path.name}: {word}"
                for word in words
                for spelled in (word, f"{word[0].upper()}{word[1:]}")
                for how in ("utf-8", "utf-16-le", "utf-16-be")
                if spelled.lower().encode(how) in content
            ]
    return found


def owner_of(house: House) -> Caller:
    return house.owner


def no_search_finds_it(house: House) -> None:
    readers = (house.owner, Caller(house.installation.gate.principals.named("bob"), None, "local"))
    for reader in readers:
        for word in ("glockenspiel sphinxlike", "Wiltz Ash Wednesday"):
            hits = house.installation.library.search(reader, word)
            assert not [hit for hit in hits if "glockenspiel" in hit.passage.text.lower()]


def test_after_forgetting_no_byte_is_left_and_a_hundred_other_receipts_verify(
    house: House,
) -> None:
    who = a_person_with_a_life(house)
    bob = house.person("bob")
    runs = house.installation.runs
    others = [
        house.ask(f"How much is the dog tax in year {2000 + n}?", bob).run for n in range(100)
    ]
    own_run = next(one.id for one in runs.list(who) if one.question == QUESTION)
    kept = runs.receipt(who, own_run)
    assert traces(house.folder)  # else nothing is shown by their absence

    done = house.installation.forgetting.forget(house.owner, NAME, "gdpr-17-1-b")

    assert traces(house.folder) == []
    no_search_finds_it(house)
    vkey = house.installation.ledger.vkey
    for run in others:
        verify(runs.receipt(bob, run), vkey=vkey)
    verify(kept, vkey=vkey)
    assert house.installation.library.search(bob, "dog tax")
    assert house.ask("How much is the dog tax?", bob).outcome == "answered"
    assert done.counts == {
        "keys": 1, "openings": 8, "reviews": 1, "collections": 1, "documents": 2, "blobs": 2,
    }  # fmt: skip
    assert [one["name"] for one in done.remaining] == ["shared.md"]
    house.installation.log.check()

    folder = house.folder
    house.installation.close()
    assert traces(folder) == []
    with a_house(folder) as again:
        no_search_finds_it(again)
        assert traces(folder) == []
        for run in others[:5]:
            verify(again.installation.runs.receipt(bob, run), vkey=vkey)


def test_the_proof_can_be_checked_from_the_ledger_alone(house: House) -> None:
    who = a_person_with_a_life(house)
    done = house.installation.forgetting.forget(house.owner, NAME)
    entries = house.entries()
    assert done.entry is not None
    proof, intent = entries[done.entry], entries[entries[done.entry]["intent"]]
    assert (proof["kind"], intent["kind"]) == ("principal.forgotten", "principal.forgetting")
    assert proof["subject"] == intent["subject"] == who.principal.pseudonym
    assert proof["actor"] == house.owner.principal.pseudonym
    assert proof["basis"] == "gdpr-17-1-a"
    commitments = sorted(
        entry[field]
        for entry in entries[: proof["commitments"]["through"]]
        if entry.get("principal") == who.principal.pseudonym
        for field in ("question", "answer", "sources", "steps")
        if field in entry
    )
    assert proof["commitments"]["count"] == len(commitments) == 8
    expected = hashlib.sha256(canonical(commitments)).hexdigest()
    assert proof["commitments"]["digest"] == f"sha256:{expected}"
    assert not any(word.lower() in str(entries).lower() for word in TRACES)


def test_who_is_forgotten_cannot_come_in_and_nothing_new_is_kept_of_them(house: House) -> None:
    a_person_with_a_life(house)
    key = house.key(NAME)
    principals = house.installation.gate.principals
    who = Caller(principals.named(NAME), None, "local")
    house.installation.forgetting.forget(house.owner, NAME)
    with pytest.raises(NotFound):
        principals.named(NAME)
    from casemate.errors import CasemateError, Unauthenticated

    with pytest.raises(Unauthenticated):
        house.installation.gate.keys.caller(key)
    with pytest.raises(CasemateError):
        house.ask("How much is the dog tax?", who)
    assert principals.by_id(who.principal.id).name.startswith("forgotten-")
    with pytest.raises(Conflict, match="already"):
        house.installation.forgetting.forget(house.owner, principals.by_id(who.principal.id).name)


def test_a_run_that_was_under_way_leaves_no_content_behind(house: House) -> None:
    a_person_with_a_life(house)
    who = Caller(house.installation.gate.principals.named(NAME), None, "local")

    async def forgotten_meanwhile() -> None:
        events = house.installation.ask(who, Request(question=QUESTION))
        await anext(events)
        await asyncio.to_thread(house.installation.forgetting.forget, house.owner, NAME)
        with pytest.raises(NotFound, match="erased"):
            async for _ in events:
                pass
        await house.installation.engines.close()

    asyncio.run(forgotten_meanwhile())
    last = house.entries()[-1]
    assert (last["kind"], last["outcome"]) == ("run.finished", "failed")
    assert not {"answer", "sources", "steps"} & last.keys()
    assert traces(house.folder) == []


def test_a_blob_that_somebody_else_uses_stays(house: House) -> None:
    a_person_with_a_life(house)
    house.add("notes", diary=DIARY)
    done = house.installation.forgetting.forget(house.owner, NAME)
    assert done.counts["blobs"] == 0
    (diary,) = (
        one for one in house.installation.library.documents(house.owner) if one.name == "diary.md"
    )
    assert house.installation.library.original(house.owner, diary.id) == DIARY.encode()


@contextmanager
def stopping_at(house: House, step: str) -> Iterator[Forgetting]:
    def after(done: str) -> None:
        if done == step:
            raise Killed

    one = house.installation
    yield Forgetting(
        one.database, one.keyring, one.gate, one.ledger, one.library, one.holds, after=after
    )


@pytest.mark.parametrize("step", STEPS)
def test_what_stops_between_two_steps_is_finished_at_the_next_start(
    house: House, step: str
) -> None:
    who = a_person_with_a_life(house)
    house.person("bob")
    with stopping_at(house, step) as forgetting, pytest.raises(Killed):
        forgetting.forget(house.owner, NAME)
    house.installation.close()
    with a_house(house.folder) as again:
        assert traces(again.folder) == []
        no_search_finds_it(again)
        kinds = [
            entry["kind"] for entry in again.entries()
            if entry.get("subject") == who.principal.pseudonym
        ]  # fmt: skip
        assert kinds.count("principal.forgetting") == kinds.count("principal.forgotten") == 1
        proof = again.entries()[-1]
        assert proof["destroyed"] == {
            "keys": 1, "openings": 8, "reviews": 1, "collections": 1, "documents": 2, "blobs": 2,
        }  # fmt: skip


_KILLED = """
import os, signal, sys
from casemate.installation import Installation
from casemate.oversight.forgetting import Forgetting
with Installation.open(__import__("pathlib").Path(sys.argv[1])) as one:
    def after(step):
        if step == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)
    Forgetting(one.database, one.keyring, one.gate, one.ledger, one.library, one.holds,
               after=after).forget(one.gate.owner(), sys.argv[2])
"""


@pytest.mark.parametrize("step", ["announced", "documents erased", "content erased"])
def test_kill_9_between_two_steps_leaves_nothing_to_do_but_start_again(
    tmp_path: Path, step: str
) -> None:
    folder = tmp_path / "data"
    with a_house(folder) as house:
        a_person_with_a_life(house)
        house.person("bob")
    command = [sys.executable, "-c", _KILLED, folder, NAME, step]
    killed = subprocess.run(command, env=an_environment(), capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with a_house(folder) as again:
        assert again.entries()[-1]["kind"] == "principal.forgotten"
        assert traces(folder) == []
        again.installation.log.check()


def test_only_who_administers_may_have_somebody_forgotten(house: House) -> None:
    a_person_with_a_life(house)
    bob = house.person("bob")
    forget = house.installation.forgetting.forget
    for name in (NAME, "bob"):  # not even oneself
        with pytest.raises(Refused, match="administer"):
            forget(bob, name)
    with pytest.raises(Refused, match="last owner"):
        forget(house.owner, house.owner.principal.name)
    with pytest.raises(Invalid, match="legal basis"):
        forget(house.owner, NAME, "because Quirinus asked")
    with pytest.raises(NotFound):
        forget(house.owner, "nobody at all")
    assert not [entry for entry in house.entries() if entry["kind"].startswith("principal.forg")]


def test_who_has_the_right_may_be_forgotten_at_their_own_wish(house: House) -> None:
    who = a_person_with_a_life(house)
    done = house.installation.forgetting.forget(who, NAME)
    assert done.entry is not None
    assert house.entries()[done.entry]["actor"] == who.principal.pseudonym


def test_a_law_that_keeps_content_refuses_and_says_from_when(house: House) -> None:
    import datetime
    from dataclasses import replace

    a_person_with_a_life(house)
    gate = house.installation.gate
    gate.country = replace(Country.load("lu"), keep_content_days=30)
    first = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=31)).date()
    with pytest.raises(Refused, match=f"30 days.*17\\(3\\)\\(b\\).*{first}"):
        house.installation.forgetting.forget(house.owner, NAME)


@pytest.mark.parametrize("basis", BASES)
def test_every_basis_is_a_code_that_the_ledger_shows(house: House, basis: str) -> None:
    house.person(NAME)
    done = house.installation.forgetting.forget(house.owner, NAME, basis)
    assert done.entry is not None
    assert house.entries()[done.entry]["basis"] == basis


def test_the_command_works_while_a_server_runs(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with a_house(folder) as house:
        a_person_with_a_life(house)
        bob = house.key(house.person("bob").principal.name)
    with a_server(folder) as server:
        refused = casemate("forget", NAME, data=folder, stdin=subprocess.DEVNULL)
        assert (refused.code, "--yes" in refused.err) == (2, True)
        done = casemate("forget", NAME, "--yes", "--json", data=folder).fine().json
        assert traces(folder) == []
        assert done["counts"]["documents"] == 2
        assert server.ask("How much is the dog tax?", key=bob).status in (200, 201)
    proof = json.loads(casemate("ledger", "show", str(done["entry"]), data=folder).fine().out)
    assert NAME not in json.dumps(proof)


def test_an_upload_into_a_collection_that_is_gone_is_refused(house: House) -> None:
    who = a_person_with_a_life(house)

    def files() -> Iterator[Any]:
        yield a_file("first.md", b"The first glockenspiel.")
        house.installation.forgetting.forget(house.owner, NAME)
        yield a_file("second.md", b"The second glockenspiel.")

    with pytest.raises((Refused, NotFound)):
        list(house.installation.library.add_all(who, "sphinxlike papers", files()))
    assert traces(house.folder) == []


def test_rewriting_leaves_none_of_the_stale_copies_that_overwriting_misses(house: House) -> None:
    import random

    import sqlalchemy as sa

    from casemate.store.tables import tenants

    rows, draw = house.installation.database, random.Random(1)
    with rows.write() as connection:
        for number in range(3000):
            whose = "glockenspiel" if draw.random() < 0.3 else "other"
            name = f"{number} {whose * draw.randint(1, 60)}"
            connection.execute(tenants.insert().values(id=f"{draw.random()}", name=name))
    with rows.write() as connection:
        connection.execute(sa.delete(tenants).where(tenants.c.name.like("%glocken%")))
    assert rows.rewrite()
    assert traces(house.folder) == []


def test_what_was_sealed_just_before_a_key_went_is_not_stored_after_it(house: House) -> None:
    keyring, database = house.installation.keyring, house.installation.database
    keyring.seal("somebody", b"an okapi", about="a")
    with database.write() as connection:
        keyring.require(connection, "somebody")
        assert keyring.retire(connection, "somebody")
        with pytest.raises(NotFound, match="erased"):
            keyring.require(connection, "somebody")
    with pytest.raises(NotFound, match="erased"):
        keyring.seal("somebody", b"another okapi", about="a")


def test_names_of_what_stays_are_told_only_to_who_may_read_it(house: House) -> None:
    house.clear_owner_for("secret")
    ida = house.person("ida", "secret", roles=("admin", "user"))
    house.collection("vault", "secret")
    list(house.installation.library.add_all(ida, "vault", [a_file("plot.md", b"# A plot\n")]))
    forgetting, principals = house.installation.forgetting, house.installation.gate.principals
    assert [one["name"] for one in forgetting.plan(house.owner, "ida").remaining] == ["plot.md"]
    principals.change(house.owner, house.owner.principal.name, clearance=house.label("restricted"))
    for told in (forgetting.plan(house.owner, "ida"), forgetting.forget(house.owner, "ida")):
        (one,) = told.remaining
        assert (one["name"], one["collection"]) == (None, None)
        assert one["id"]
