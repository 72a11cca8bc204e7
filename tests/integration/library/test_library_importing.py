"""Documents come in, are replaced and leave: whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from house_builders import FEES, WASTE, House, a_file, a_house
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.errors import CasemateError, NotFound, TooLarge, Unavailable
from casemate.library.importing import Added, File, Importing
from casemate.library.index import Indexed
from casemate.library.parse import Extracted, Unreadable
from casemate.store.blobs import digest_of


class CountingReader:
    """Reads text as it is, and remembers what it was asked to read."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def read(self, name: str, content: bytes) -> Extracted:
        self.names.append(name)
        if content.startswith(b"bad"):
            raise Unreadable("is damaged", name=name)
        return Extracted(content.decode(), "text/plain", None, (), ())


class FailingIndex:
    """An index whose next ``apply`` that adds fails."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.broken = True

    def apply(self, *, add: Any = (), remove: Sequence[str] = ()) -> None:
        added: list[Indexed] = list(add)
        if added and self.broken:
            self.broken = False
            raise Unavailable("The index cannot be written.", "Try again.")
        self._index.apply(add=added, remove=remove)


def importing_of(house: House) -> Importing:
    return house.installation.library._importing


def import_all(house: House, reader: CountingReader, *files: File) -> list[Added]:
    library = house.installation.library
    if not library.collections(house.owner):
        house.collection("notes")
    (collection,) = library.collections(house.owner)
    return list(importing_of(house).add(collection, files, reader, lambda ids: None))


def outcomes(added: Sequence[Added]) -> list[tuple[str, str]]:
    return [(one.name, one.outcome) for one in added]


def blobs_of(house: House) -> set[str]:
    files = (house.folder / "blobs").rglob("*")
    return {f"sha256:{path.name}" for path in files if path.is_file()}


def rows(house: House, table: str) -> int:
    with house.installation.database.read() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_what_comes_in_is_listed_readable_searchable_and_recorded(house: House) -> None:
    added = house.add("notes", fees=FEES)["fees.md"]
    library = house.installation.library
    (document,) = library.documents(house.owner)
    assert (added.outcome, added.document) == ("added", document.id)
    assert (document.name, document.title, document.media_type) == (
        "fees.md",
        "Fees",
        "text/markdown",
    )
    assert library.original(house.owner, document.id) == FEES.encode()
    assert document.digest == digest_of(FEES.encode())
    assert document.characters == len(library.text(house.owner, document.id))
    assert library.search(house.owner, "parking permit")[0].passage.document == document.id
    (entry,) = [one for one in house.entries() if one["kind"] == "documents.added"]
    assert entry["documents"] == [document.id]
    assert "fees" not in str(entry)


def test_an_unchanged_file_costs_no_reading(house: House) -> None:
    reader = CountingReader()
    files = [a_file(f"{number}.txt", b"text %d" % number) for number in range(5)]
    assert {one.outcome for one in import_all(house, reader, *files)} == {"added"}
    assert len(reader.names) == 5
    assert {one.outcome for one in import_all(house, reader, *files)} == {"unchanged"}
    assert len(reader.names) == 5
    changed = a_file("3.txt", b"text three")
    again = import_all(house, reader, *files[:3], changed, files[4])
    assert [one.name for one in again if one.outcome == "replaced"] == ["3.txt"]
    assert reader.names[5:] == ["3.txt"]


def test_a_file_that_cannot_be_read_is_told_and_the_rest_goes_in(house: House) -> None:
    files = [a_file("a.txt", b"a"), a_file("b.txt", b"bad"), a_file("c.txt", b"c")]
    added = import_all(house, CountingReader(), *files)
    assert sorted(outcomes(added)) == [("a.txt", "added"), ("b.txt", "unread"), ("c.txt", "added")]
    (unread,) = [one for one in added if one.outcome == "unread"]
    assert isinstance(unread.problem, Unreadable)
    assert digest_of(b"bad") not in blobs_of(house)


def test_a_new_version_that_cannot_be_read_leaves_the_old_one(house: House) -> None:
    reader = CountingReader()
    import_all(house, reader, a_file("a.txt", b"first"))
    assert outcomes(import_all(house, reader, a_file("a.txt", b"bad"))) == [("a.txt", "unread")]
    (document,) = house.installation.library.documents(house.owner)
    assert house.installation.library.text(house.owner, document.id) == "first"


def test_a_file_above_the_limit_is_not_even_opened(tmp_path: Path) -> None:
    def never() -> bytes:
        raise AssertionError("opened")

    with a_house(tmp_path / "data", upload_mebibytes=1) as house:
        (added,) = import_all(house, CountingReader(), File("big.txt", (1 << 20) + 1, never))
        assert isinstance(added.problem, TooLarge)


def test_the_same_name_twice_ends_with_the_last_one(house: House) -> None:
    reader = CountingReader()
    files = [a_file("a.txt", b"one"), a_file("a.txt", b"two"), a_file("a.txt", b"three")]
    assert [one.outcome for one in import_all(house, reader, *files)] == [
        "added",
        "replaced",
        "replaced",
    ]
    (document,) = house.installation.library.documents(house.owner)
    assert house.installation.library.text(house.owner, document.id) == "three"
    assert blobs_of(house) == {digest_of(b"three")}


def test_the_last_one_wins_also_when_it_is_what_was_there_before(house: House) -> None:
    reader = CountingReader()
    import_all(house, reader, a_file("a.txt", b"old"))
    import_all(house, reader, a_file("a.txt", b"new"), a_file("a.txt", b"old"))
    (document,) = house.installation.library.documents(house.owner)
    assert house.installation.library.text(house.owner, document.id) == "old"
    assert house.installation.library.original(house.owner, document.id) == b"old"


def test_bytes_that_leave_one_document_and_enter_another_in_one_go_are_kept(house: House) -> None:
    reader = CountingReader()
    import_all(house, reader, a_file("y.txt", b"shared"))
    import_all(
        house,
        reader,
        a_file("y.txt", b"other"),
        a_file("z.txt", b"first"),
        a_file("z.txt", b"shared"),
    )
    library = house.installation.library
    originals = {
        one.name: library.original(house.owner, one.id) for one in library.documents(house.owner)
    }
    assert originals == {"y.txt": b"other", "z.txt": b"shared"}


def test_more_than_a_batch_comes_in_whole(house: House) -> None:
    files = [a_file(f"{number}.txt", b"text %d" % number) for number in range(150)]
    assert len(import_all(house, CountingReader(), *files)) == 150
    assert rows(house, "documents") == rows(house, "passages") == 150
    assert house.installation.library._index.size() == 150


def test_what_was_told_as_added_is_already_durable_when_the_rest_fails(house: House) -> None:
    def files() -> Iterator[File]:
        for number in range(70):
            yield a_file(f"{number}.txt", b"text %d" % number)
        raise Unavailable("The disk is full.", "Free some space.")

    house.collection("notes")
    (collection,) = house.installation.library.collections(house.owner)
    told: list[str] = []
    adding = importing_of(house).add(collection, files(), CountingReader(), lambda ids: None)
    with pytest.raises(Unavailable):
        told.extend(one.name for one in adding)
    assert len(told) == 64
    assert {one.name for one in house.installation.library.documents(house.owner)} == set(told)


# Replacing


def test_a_replacement_is_seen_as_a_whole_or_not_at_all(house: House) -> None:
    house.add("notes", fees=FEES)
    library = house.installation.library
    seen: set[tuple[str, ...]] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(hit.passage.text for hit in library.search(house.owner, "dog tax")))

    reader = threading.Thread(target=read)
    reader.start()
    versions = [FEES.replace("40", str(40 + turn)) for turn in range(1, 6)]
    for version in versions:
        assert house.add("notes", fees=version)["fees.md"].outcome == "replaced"
    stop.set()
    reader.join()
    assert all(len(texts) == 1 for texts in seen), [len(texts) for texts in seen]
    assert len(library.documents(house.owner)) == 1
    assert "45 euros" in library.search(house.owner, "dog tax")[0].passage.text


def test_a_failure_in_the_middle_leaves_the_old_version_and_is_no_hindrance(house: House) -> None:
    reader = CountingReader()
    import_all(house, reader, a_file("a.txt", b"first"))
    importing = importing_of(house)
    importing._index = FailingIndex(importing._index)
    with pytest.raises(Unavailable):
        import_all(house, reader, a_file("a.txt", b"second"))
    library = house.installation.library
    (document,) = library.documents(house.owner)
    assert library.text(house.owner, document.id) == "first"
    assert blobs_of(house) == {digest_of(b"first")}
    assert outcomes(import_all(house, reader, a_file("a.txt", b"second"))) == [
        ("a.txt", "replaced")
    ]
    assert rows(house, "documents") == 1


def test_a_batch_whose_entry_cannot_be_recorded_is_never_readable(house: House) -> None:
    def broken(ids: list[str]) -> None:
        raise Unavailable("The ledger is full.", "Free some space.")

    house.collection("notes")
    (collection,) = house.installation.library.collections(house.owner)
    files = [a_file("a.txt", b"text")]
    with pytest.raises(Unavailable):
        list(importing_of(house).add(collection, files, CountingReader(), broken))
    assert house.installation.library.documents(house.owner) == []
    assert (rows(house, "documents"), rows(house, "passages"), blobs_of(house)) == (0, 0, set())
    assert house.installation.library._index.size() == 0


def test_two_people_who_add_the_same_name_at_once_are_both_served(house: House) -> None:
    house.collection("notes")
    library = house.installation.library
    problems: list[BaseException] = []

    def add(number: int) -> None:
        try:
            for turn in range(4):
                library.add(house.owner, "notes", "a.md", b"# %d %d" % (number, turn))
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    (document,) = library.documents(house.owner)
    assert library.original(house.owner, document.id).startswith(b"# ")
    assert rows(house, "documents") == 1


# Leaving


def test_a_deleted_document_is_gone_everywhere(house: House) -> None:
    house.add("notes", fees=FEES, waste=WASTE)
    library = house.installation.library
    fees, waste = library.documents(house.owner)
    kept = {waste.digest, digest_of(library.text(house.owner, waste.id).encode())}
    library.delete(house.owner, fees.id)
    with pytest.raises(NotFound):
        library.document(house.owner, fees.id)
    with house.installation.database.read() as connection:
        for table, column in (("documents", "id"), ("passages", "document")):
            found = connection.execute(
                sa.text(f"SELECT count(*) FROM {table} WHERE {column} = :id"), {"id": fees.id}
            ).scalar()
            assert found == 0
    assert blobs_of(house) == kept
    assert library._index.size() == rows(house, "passages")
    assert [one["kind"] for one in house.entries()][-1] == "documents.deleted"
    assert library.search(house.owner, "dog tax parking permit") == []


def test_no_byte_of_a_deleted_text_stays_in_the_data_folder(tmp_path: Path) -> None:
    secret = "Xylophonzauberwort"
    with a_house(tmp_path / "data") as house:
        house.add("notes", secret=f"# Title\n\n{secret} is the word.")
        assert house.installation.library.search(house.owner, secret)
        (document,) = house.installation.library.documents(house.owner)
        house.installation.library.delete(house.owner, document.id)
    left = [
        path.relative_to(tmp_path).as_posix()
        for path in (tmp_path / "data").rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert left == []


def test_bytes_that_another_document_shares_stay_until_the_last_one_leaves(house: House) -> None:
    house.add("notes", one=FEES, two=FEES)
    house.add("more", three=FEES)
    library = house.installation.library
    for number, document in enumerate(library.documents(house.owner), 1):
        assert library.original(house.owner, document.id) == FEES.encode()
        library.delete(house.owner, document.id)
        assert bool(blobs_of(house)) == (number < 3)


def test_a_deletion_that_cannot_be_recorded_does_not_happen(house: House) -> None:
    house.add("notes", fees=FEES)
    (document,) = house.installation.library.documents(house.owner)

    def broken() -> None:
        raise Unavailable("The ledger is full.", "Free some space.")

    with pytest.raises(Unavailable):
        importing_of(house).delete(document.id, broken)
    assert house.installation.library.original(house.owner, document.id) == FEES.encode()


def test_who_may_not_delete_is_refused_and_it_stays(house: House) -> None:
    house.add("notes", fees=FEES)
    (document,) = house.installation.library.documents(house.owner)
    bob = house.person("bob")
    with pytest.raises(CasemateError):
        house.installation.library.delete(bob, document.id)
    assert house.installation.library.document(bob, document.id)


# Recovery


@pytest.mark.parametrize("state", ["pending", "leaving"])
def test_what_a_crash_left_half_way_is_cleared_at_the_next_start(
    tmp_path: Path, state: str
) -> None:
    with a_house(tmp_path / "data") as house:
        house.add("notes", fees=FEES, waste=WASTE)
        with house.installation.database.write() as connection:
            connection.execute(
                sa.text("UPDATE documents SET state = :s WHERE name = 'fees.md'"), {"s": state}
            )
    with a_house(tmp_path / "data") as house:
        (kept,) = house.installation.library.documents(house.owner)
        assert kept.name == "waste.md"
        assert rows(house, "documents") == 1
        assert digest_of(FEES.encode()) not in blobs_of(house)
        assert house.installation.library._index.size() == rows(house, "passages")
        assert house.add("notes", fees=FEES)["fees.md"].outcome == "added"


def test_an_index_that_lacks_a_passage_or_has_one_too_many_is_built_anew(tmp_path: Path) -> None:
    for wrong in ("less", "more"):
        with a_house(tmp_path / wrong) as house:
            house.add("notes", fees=FEES, waste=WASTE)
            index = house.installation.library._index
            (fees, _) = house.installation.library.documents(house.owner)
            if wrong == "less":
                index.apply(remove=[fees.id])
            else:
                index.apply(add=[Indexed(9999, "d_x", "c_x", "lu:unclassified", "dog tax")])
        with a_house(tmp_path / wrong) as house:
            library = house.installation.library
            assert library._index.size() == rows(house, "passages")
            found = library.search(house.owner, "dog tax")
            assert [hit.passage.document_name for hit in found] == ["fees.md"]


@pytest.mark.parametrize("wreck", ["no meta", "half a meta", "other bytes"])
def test_a_part_that_a_crash_left_unreadable_is_built_anew(tmp_path: Path, wreck: str) -> None:
    with a_house(tmp_path / "data") as house:
        house.add("notes", fees=FEES, waste=WASTE)
        with house.installation.database.write() as connection:
            connection.execute(
                sa.text("UPDATE documents SET state = 'leaving' WHERE name = 'waste.md'")
            )
    (meta,) = (tmp_path / "data" / "index").glob("*/*/meta.json")
    if wreck == "no meta":
        meta.unlink()
    elif wreck == "half a meta":
        meta.write_bytes(meta.read_bytes()[:40])
    else:
        meta.write_bytes(bytes(range(256)))
    with a_house(tmp_path / "data") as house:
        found = house.installation.library.search(house.owner, "dog tax")
        assert [hit.passage.document_name for hit in found] == ["fees.md"]
        assert house.installation.library._index.size() == rows(house, "passages")


# Collections


@pytest.mark.parametrize("name", ["", "  ", "a/b", "x" * 81, "a\nb", "a\x00b", "\u202e"])
def test_what_is_no_name_for_a_collection_is_refused(house: House, name: str) -> None:
    with pytest.raises(CasemateError, match="not a name"):
        house.collection(name)


def test_a_collection_above_ones_clearance_cannot_be_made(house: House) -> None:
    with pytest.raises(CasemateError, match="above your clearance"):
        house.collection("payroll", "secret")
    assert house.installation.library.collections(house.owner) == []


def test_a_name_is_free_once_in_a_tenant(house: House) -> None:
    house.collection("notes")
    with pytest.raises(CasemateError, match="not free"):
        house.collection("notes")


# Whatever is written


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1500))
def test_every_passage_is_exactly_the_documents_text_at_its_span(house: House, text: str) -> None:
    added = import_all(house, CountingReader(), a_file("any.txt", text.encode()))
    assert added[0].outcome in ("added", "replaced", "unchanged")
    library = house.installation.library
    (document,) = library.documents(house.owner)
    whole = library.text(house.owner, document.id)
    with house.installation.database.read() as connection:
        found = connection.execute(
            sa.text('SELECT start, "end", text FROM passages ORDER BY ordinal')
        ).all()
    assert all(whole[row.start : row.end] == row.text for row in found)


def test_passages_of_every_real_format_are_exactly_the_text_at_their_span(house: House) -> None:
    from importlib import resources

    corpus = Path(str(resources.files("casemate.demo"))) / "corpus"
    files = [path for path in sorted(corpus.rglob("*")) if path.is_file()]
    chosen = {path.suffix: path for path in files}
    house.collection("demo")
    library = house.installation.library
    for path in chosen.values():
        library.add(house.owner, "demo", path.name, path.read_bytes())
    assert {".pdf", ".docx", ".odt", ".csv", ".md", ".html"} <= set(chosen)
    texts = {one.id: library.text(house.owner, one.id) for one in library.documents(house.owner)}
    with house.installation.database.read() as connection:
        found = connection.execute(
            sa.text('SELECT document, start, "end", text FROM passages')
        ).all()
    assert found
    for row in found:
        assert texts[row.document][row.start : row.end] == row.text
