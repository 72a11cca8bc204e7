"""The log's side of witnessing, against real witnesses reached without a network."""

from __future__ import annotations

import threading

import pytest
from ledger_builders import a_signer

from casemate.errors import CasemateError, Invalid, Refused, Unavailable
from casemate.ledger.cosignature import Cosigner, cosigned
from casemate.ledger.cosigning import Cosigning, SplitView, WitnessAt, WitnessPolicy
from casemate.ledger.merkle import consistency_proof, leaf_hash, root_hash
from casemate.ledger.note import Note, sign
from casemate.ledger.proof import Checkpoint
from casemate.ledger.witness import Stale, Witness

NOW = 1_790_000_000
LOG = a_signer("log.example/one")


def a_cosigner(number: int) -> Cosigner:
    return Cosigner.from_seed(f"witness.example/w{number}", bytes([100 + number]) * 32)


class ALog:
    """A tree over letters, which may be rewritten as no log should be."""

    def __init__(self, names: str) -> None:
        self.names = names

    def checkpoint(self, signer=LOG) -> bytes:
        hashes = [leaf_hash(one.encode()) for one in self.names]
        return Checkpoint(LOG.name, len(hashes), root_hash(hashes)).sign([signer])

    def consistency(self, old: int, new: int) -> list[bytes]:
        hashes = [leaf_hash(one.encode()) for one in self.names]
        return consistency_proof(
            old, new, lambda h, index: root_hash(hashes[index << h : (index + 1) << h])
        )


class Places:
    """Witnesses at addresses; ``instead`` answers for some of them, ``asked`` tells what came."""

    def __init__(self, folder, count: int) -> None:
        self.witnesses: dict[str, Witness] = {}
        self.instead: dict[str, object] = {}
        self.asked: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        for number in range(1, count + 1):
            place = folder / f"witness{number}"
            place.mkdir(parents=True)
            witness = Witness(place, a_cosigner(number), lambda: NOW)
            witness.add_log((LOG.verifier,))
            self.witnesses[f"https://w{number}.example/p/add-checkpoint"] = witness

    def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            self.asked.append((url, body.partition(b"\n")[0]))
        answer = self.instead.get(url)
        if isinstance(answer, BaseException):
            raise answer
        if answer is not None:
            return answer
        try:
            return 200, self.witnesses[url].add_checkpoint(body)
        except Stale as refused:
            return 409, f"{refused.size}\n".encode()
        except CasemateError as refused:
            return refused.status, b""


def at(number: int) -> str:
    return f"https://w{number}.example/p/add-checkpoint"


def a_policy(count: int, needed: int) -> WitnessPolicy:
    witnesses = tuple(
        WitnessAt(f"https://w{number}.example/p/", a_cosigner(number).verifier)
        for number in range(1, count + 1)
    )
    return WitnessPolicy(witnesses, needed, "closed")


def a_cosigning(folder, log: ALog, places: Places, count: int = 3, needed: int = 2, **how):
    policy = a_policy(count, needed)
    return Cosigning(folder / "memory", policy, places.post, log.consistency, lambda: NOW, **how)


def size_of(raw: bytes | None) -> int | None:
    return None if raw is None else Checkpoint.open(raw, LOG.verifier).size


def test_every_witness_signs_as_the_log_grows(tmp_path):
    log, places = ALog("a"), Places(tmp_path, 3)
    cosigning = a_cosigning(tmp_path, log, places)
    assert cosigning.newest() is None
    for names in ("a", "abc", "abcd", "abcdefgh"):
        log.names = names
        outcome = cosigning.submit(log.checkpoint())
        assert outcome.problems == {}
        assert outcome.cosigned == tuple(a_cosigner(n).name for n in (1, 2, 3))
        assert len(cosigned(outcome.note, a_policy(3, 2).verifiers)) == 3
        assert cosigning.newest() == outcome.note
        assert size_of(outcome.note) == len(names)


def test_the_newest_note_and_the_sizes_survive_a_restart(tmp_path):
    log, places = ALog("abc"), Places(tmp_path, 3)
    outcome = a_cosigning(tmp_path, log, places).submit(log.checkpoint())
    again = a_cosigning(tmp_path, log, places)
    assert again.newest() == outcome.note
    places.asked.clear()
    log.names = "abcde"
    again.submit(log.checkpoint())
    assert [line for _, line in places.asked] == [b"old 3"] * 3


def test_losing_the_sizes_is_harmless(tmp_path):
    log, places = ALog("abc"), Places(tmp_path, 3)
    a_cosigning(tmp_path, log, places).submit(log.checkpoint())
    for damage in (b"", b"{", b'{"a":"b"}', b"\xff"):
        (tmp_path / "memory" / "sizes.json").write_bytes(damage)
        log.names += "x"
        assert a_cosigning(tmp_path, log, places).submit(log.checkpoint()).problems == {}


def test_a_damaged_newest_note_counts_for_nothing(tmp_path):
    log, places = ALog("abc"), Places(tmp_path, 3)
    a_cosigning(tmp_path, log, places).submit(log.checkpoint())
    path = tmp_path / "memory" / "cosigned"
    path.write_bytes(path.read_bytes().replace(b"\n3\n", b"\n2\n"))
    assert a_cosigning(tmp_path, log, places).newest() is None


def test_the_newest_note_is_durable_before_it_is_the_newest(tmp_path):
    log, places = ALog("abc"), Places(tmp_path, 3)

    def full(path, content):
        raise OSError(28, "No space left on device")

    cosigning = a_cosigning(tmp_path, log, places, write=full)
    with pytest.raises(Unavailable, match="full"):
        cosigning.submit(log.checkpoint())
    assert cosigning.newest() is None


def test_fewer_than_needed_are_reported_and_not_kept_until_enough_have_signed(tmp_path):
    log, places = ALog("abc"), Places(tmp_path, 3)
    cosigning = a_cosigning(tmp_path, log, places)
    places.instead = {at(2): OSError(111, "refused"), at(3): Unavailable("It is asleep.")}
    outcome = cosigning.submit(log.checkpoint())
    assert outcome.cosigned == ("witness.example/w1",)
    assert outcome.problems == {
        "witness.example/w2": "witness.example/w2 does not answer.",
        "witness.example/w3": "witness.example/w3: It is asleep.",
    }
    assert cosigning.newest() is None
    places.asked.clear()
    del places.instead[at(2)]
    assert cosigning.submit(log.checkpoint()).cosigned == (
        "witness.example/w1",
        "witness.example/w2",
    )
    assert {url for url, _ in places.asked} == {at(2), at(3)}  # who signed is not asked again
    assert size_of(cosigning.newest()) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, b""), "malformed"),
        ((403, b""), "does not trust the key"),
        ((404, b""), "does not follow this log"),
        ((301, b""), "status 301"),
        ((500, b"stack"), "status 500"),
        ((422, b""), "status 422"),  # nothing was proven, so nothing can diverge
        ((409, b""), "without its latest size"),
        ((409, b"1"), "without its latest size"),
        ((409, b"01\n"), "without its latest size"),
        ((409, b"9223372036854775808\n"), "without its latest size"),
        ((409, b"1\n"), None),
        ((200, b""), "no cosignature"),
        ((200, b"<html>\n"), "no cosignature"),
        ((200, b"x" * 70_000), "too great a length"),
        (Refused("The perimeter does not hold it."), "perimeter"),
        (RuntimeError("secret"), "RuntimeError"),
    ],
)
def test_what_a_witness_answers_wrongly_is_its_problem_alone(tmp_path, answer, words):
    log, places = ALog("abc"), Places(tmp_path, 3)
    places.instead[at(1)] = answer
    cosigning = a_cosigning(tmp_path, log, places)
    outcome = cosigning.submit(log.checkpoint())
    assert outcome.cosigned == ("witness.example/w2", "witness.example/w3")
    problem = outcome.problems["witness.example/w1"]
    assert (words or "new latest size") in problem
    assert "secret" not in problem
    assert cosigning.newest() == outcome.note


def wrong_signatures() -> dict[str, bytes]:
    text = Note.parse(ALog("abc").checkpoint()).text
    other = Note.parse(ALog("abd").checkpoint()).text
    line = a_cosigner(1).cosign(text, NOW).encode()
    return {
        "of another checkpoint": a_cosigner(1).cosign(other, NOW).encode().encode(),
        "of an unknown key": a_cosigner(7).cosign(text, NOW).encode().encode(),
        "from the future": a_cosigner(1).cosign(text, NOW + 301).encode().encode(),
        "after more text": f"more\n\n{line}".encode(),
        "without newline": line[:-1].encode(),
        "with rubbish": f"{line}rubbish\n".encode(),
    }


@pytest.mark.parametrize("answer", wrong_signatures().values(), ids=wrong_signatures())
def test_a_cosignature_that_is_not_right_is_not_taken(tmp_path, answer):
    log, places = ALog("abc"), Places(tmp_path, 3)
    places.instead[at(1)] = (200, answer)
    outcome = a_cosigning(tmp_path, log, places).submit(log.checkpoint())
    assert list(outcome.problems) == ["witness.example/w1"]
    assert len(cosigned(outcome.note, a_policy(3, 2).verifiers)) == 2


def test_cosignatures_of_unknown_keys_beside_the_right_one_are_ignored(tmp_path):
    log, places = ALog("abc"), Places(tmp_path, 1)
    text = Note.parse(log.checkpoint()).text
    lines = [a_cosigner(n).cosign(text, NOW).encode() for n in (7, 1)]
    places.instead[at(1)] = (200, "".join(lines).encode())
    outcome = a_cosigning(tmp_path, log, places, 1, 1).submit(log.checkpoint())
    assert [one.name for one in Note.parse(outcome.note).signatures] == [
        LOG.name,
        "witness.example/w1",
    ]


def test_a_witness_further_on_than_the_log_is_a_split_view(tmp_path):
    log, places = ALog("abc"), Places(tmp_path, 3)
    places.instead[at(2)] = (409, b"9\n")
    cosigning = a_cosigning(tmp_path, log, places)
    for _ in range(2):
        with pytest.raises(SplitView, match="9 entries") as found:
            cosigning.submit(log.checkpoint())
        assert found.value.witness == "witness.example/w2"
        assert not found.value.proven  # it merely says so
    kept = cosigning.newest()  # what the others signed counts all the same
    assert kept is not None
    assert b"witness.example/w2" not in kept


def test_two_histories_shown_to_two_witnesses_are_a_split_view(tmp_path):
    places = Places(tmp_path, 2)
    one, other = ALog("abc"), ALog("abX")
    a_cosigning(tmp_path / "one", one, places, 1, 1).submit(one.checkpoint())
    for names in ("abX", "abXdef"):
        other.names = names
        with pytest.raises(SplitView) as found:
            a_cosigning(tmp_path / "other", other, places, 2, 1).submit(other.checkpoint())
        assert found.value.witness == "witness.example/w1"


@pytest.mark.parametrize("names", ["ab", "abX", "abXd", ""])
def test_a_log_rolled_back_or_rewritten_is_noticed_without_asking_anybody(tmp_path, names):
    log, places = ALog("abc"), Places(tmp_path, 3)
    a_cosigning(tmp_path, log, places).submit(log.checkpoint())
    log.names = names
    places.asked.clear()
    with pytest.raises(SplitView):
        a_cosigning(tmp_path, log, places).submit(log.checkpoint())
    assert places.asked == []


def test_what_is_no_checkpoint_is_not_submitted(tmp_path):
    places = Places(tmp_path, 1)
    cosigning = a_cosigning(tmp_path, ALog(""), places, 1, 1)
    for raw in (b"", b"x", sign("hello\n", [LOG])):
        with pytest.raises(Invalid):
            cosigning.submit(raw)
    assert places.asked == []


@pytest.mark.parametrize(("count", "needed"), [(0, 0), (0, 1), (1, 0), (2, 3), (2, -1)])
def test_a_policy_that_cannot_be_met_is_refused(count, needed):
    with pytest.raises(Invalid):
        a_policy(count, needed)


def test_a_policy_lists_each_witness_once():
    first = WitnessAt("https://a.example", a_cosigner(1).verifier)
    twin = Cosigner.from_seed("witness.example/twin", a_cosigner(1).seed).verifier
    for second in (
        WitnessAt("https://b.example", a_cosigner(1).verifier),
        WitnessAt("https://b.example", twin),
        WitnessAt("https://a.example/", a_cosigner(2).verifier),
    ):
        with pytest.raises(Invalid):
            WitnessPolicy((first, second), 1, "open")


def test_a_policy_fails_open_or_closed():
    with pytest.raises(Invalid):
        WitnessPolicy(a_policy(1, 1).witnesses, 1, "ajar")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "w.example",
        "ftp://w.example",
        "https://",
        "https://a:b@w.example",
        "https://w.example?x",
        "https://w.example#x",
        "https://w.example:99999",
        "https://[::1",
    ],
)
def test_an_address_that_is_not_right_is_refused(url):
    with pytest.raises(Invalid):
        WitnessAt(url, a_cosigner(1).verifier)
