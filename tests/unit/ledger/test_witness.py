"""A witness: C2SP tlog-witness, add-checkpoint, without HTTP."""

from __future__ import annotations

import stat
import threading
from base64 import b64encode

import pytest
from ledger_builders import a_signer

from casemate.errors import Invalid, Tampered, TooLarge, Unavailable
from casemate.ledger.cosignature import Cosigner, cosigned
from casemate.ledger.merkle import consistency_proof, leaf_hash, root_hash
from casemate.ledger.note import Note, sign
from casemate.ledger.proof import Checkpoint
from casemate.ledger.witness import (
    MAX_BODY,
    Inconsistent,
    Malformed,
    Stale,
    UnknownLog,
    Untrusted,
    Witness,
)
from casemate.store.folder import write_durably

NOW = 1_790_000_000
LOG = a_signer("log.example/one")
COSIGNER = Cosigner.from_seed("witness.example/w1", b"\x65" * 32)
NAMES = "abcdefghijkl"


def leaves(names: str) -> list[bytes]:
    return [leaf_hash(name.encode()) for name in names]


def a_checkpoint(names: str, signer=LOG, extra: str = "") -> bytes:
    text = Checkpoint(LOG.name, len(names), root_hash(leaves(names))).format()
    return sign(text + extra, [signer])


def a_proof(old: int, names: str) -> list[bytes]:
    hashes = leaves(names)
    read = lambda height, index: root_hash(hashes[index << height : (index + 1) << height])  # noqa: E731
    return consistency_proof(old, len(names), read)


def a_request(old: object, names: str, *, proof=None, raw: bytes | None = None) -> bytes:
    hashes = a_proof(int(old), names) if proof is None else proof
    lines = [f"old {old}", *(b64encode(one).decode() for one in hashes)]
    return "\n".join(lines).encode() + b"\n\n" + (a_checkpoint(names) if raw is None else raw)


def a_witness(folder, *, write=write_durably, known: bool = True) -> Witness:
    folder.mkdir(exist_ok=True)
    witness = Witness(folder, COSIGNER, lambda: NOW, write)
    if known:
        Witness(folder, COSIGNER, lambda: NOW).add_log((LOG.verifier,))
    return witness


def size(witness: Witness) -> int:
    return witness.logs()[0][0].latest.size


def state_file(folder):
    (path,) = (folder / "logs").glob("*.json")
    return path


def test_a_log_is_followed_as_it_grows(tmp_path):
    witness = a_witness(tmp_path)
    old = 0
    for new in (1, 3, 4, 8, 12):
        line = witness.add_checkpoint(a_request(old, NAMES[:new]))
        note = a_checkpoint(NAMES[:new]) + line
        assert cosigned(note, [COSIGNER.verifier]) == ((COSIGNER.verifier, NOW),)
        old = new
    assert size(witness) == 12


def test_a_log_may_begin_empty(tmp_path):
    witness = a_witness(tmp_path)
    witness.add_checkpoint(a_request(0, ""))
    witness.add_checkpoint(a_request(0, "abc"))
    assert size(witness) == 3


def test_the_same_checkpoint_again_gets_a_fresh_cosignature(tmp_path):
    witness = a_witness(tmp_path)
    witness.add_checkpoint(a_request(0, "abc"))
    later = Witness(tmp_path, COSIGNER, lambda: NOW + 60)
    line = later.add_checkpoint(a_request(3, "abc"))
    assert cosigned(a_checkpoint("abc") + line, [COSIGNER.verifier])[0][1] == NOW + 60


def test_extension_lines_of_others_are_cosigned_with_the_rest(tmp_path):
    raw = a_checkpoint("abc", extra="an extension\n")
    line = a_witness(tmp_path).add_checkpoint(a_request(0, "abc", raw=raw))
    assert cosigned(raw + line, [COSIGNER.verifier])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 0\n\n",
        b"old 0\n" + a_checkpoint("abc"),
        b"OLD 0\n\n" + a_checkpoint("abc"),
        b"old\n\n" + a_checkpoint("abc"),
        b"0\n\n" + a_checkpoint("abc"),
        b"\n" + a_request(0, "abc"),
        a_request(0, "abc")[:-1],
        a_request(0, "abc") + b"\n",
        a_request(0, "abc").replace(b"\n", b"\r\n"),
        a_request(0, "abc", raw=a_checkpoint("abc").split(b"\xe2\x80\x94")[0]),
        a_request(0, "abc", raw=a_checkpoint("abc", extra="\nb\n")),
        a_request(0, "abc", raw=sign("log.example/one\n3\nnot a root\n", [LOG])),
        a_request(0, "abc", raw=b"\xff" + a_checkpoint("abc")),
        a_request(0, "abc", proof=[b"short"]),
        a_request(0, "abc").replace(b"old 0\n", b"old 0\n!!!!\n"),
        a_request(0, "abc").replace(b"old 0\n", "old 0\né\n".encode()),
        a_request(4, "abc", proof=[]),
        a_request(1, "abc", proof=[b"\0" * 32] * 64),
    ],
)
def test_a_malformed_request_is_refused(tmp_path, body):
    with pytest.raises(Malformed) as refused:
        a_witness(tmp_path).add_checkpoint(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("old", ["00", "01", "+1", "-1", " 1", "1 ", "0x1", "", "٣", str(2**63)])
def test_an_old_size_in_any_other_spelling_is_refused(tmp_path, old):
    body = f"old {old}\n\n".encode() + a_checkpoint("abc")
    with pytest.raises(Malformed):
        a_witness(tmp_path).add_checkpoint(body)


def test_a_request_above_the_limit_is_refused(tmp_path):
    with pytest.raises(TooLarge):
        a_witness(tmp_path).add_checkpoint(a_request(0, "abc") + b"x" * MAX_BODY)


def test_the_log_of_an_unknown_origin_is_not_found_and_leaves_no_trace(tmp_path):
    witness = a_witness(tmp_path, known=False)
    with pytest.raises(UnknownLog) as refused:
        witness.add_checkpoint(a_request(0, "abc"))
    assert refused.value.status == 404
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signer", [a_signer(LOG.name, 9), a_signer("log.example/two", 1)])
def test_a_checkpoint_without_a_trusted_signature_is_forbidden(tmp_path, signer):
    raw = a_checkpoint("abc", signer)
    with pytest.raises(Untrusted) as refused:
        a_witness(tmp_path).add_checkpoint(a_request(0, "abc", raw=raw))
    assert refused.value.status == 403


def test_a_trusted_key_with_a_wrong_signature_is_forbidden(tmp_path):
    wrong = LOG.signature("something else\n")
    text = Note.parse(a_checkpoint("abc")).text
    for signatures in [(wrong,), (LOG.signature(text), wrong)]:
        with pytest.raises(Untrusted):
            a_witness(tmp_path).add_checkpoint(
                a_request(0, "abc", raw=Note(text, signatures).encode())
            )


def test_signatures_of_strangers_are_ignored(tmp_path):
    text = Note.parse(a_checkpoint("abc")).text
    raw = sign(text, [a_signer("stranger.example", 5), LOG])
    witness = a_witness(tmp_path)
    line = witness.add_checkpoint(a_request(0, "abc", raw=raw))
    assert [one.name for one in Note.parse(a_checkpoint("abc") + line).signatures] == [
        LOG.name,
        COSIGNER.name,
    ]


@pytest.mark.parametrize("old", [0, 2, 4])
def test_another_old_size_is_a_conflict_that_names_the_latest(tmp_path, old):
    witness = a_witness(tmp_path)
    witness.add_checkpoint(a_request(0, "abc"))
    with pytest.raises(Stale) as refused:
        witness.add_checkpoint(a_request(old, "abcdef"))
    assert (refused.value.status, refused.value.size) == (409, 3)


def test_a_proof_that_does_not_verify_cannot_be_processed(tmp_path):
    witness = a_witness(tmp_path)
    witness.add_checkpoint(a_request(0, "abc"))
    for body in [
        a_request(3, "abcdef", proof=[]),
        a_request(3, "abcdef", proof=[b"\0" * 32] * 3),
        a_request(3, "abcdef", proof=[*a_proof(3, "abcdef"), b"\0" * 32]),
        a_request(3, "abXdef"),
        a_request(3, "abc", proof=[b"\0" * 32]),
    ]:
        with pytest.raises(Inconsistent) as refused:
            witness.add_checkpoint(body)
        assert refused.value.status == 422
    assert size(witness) == 3


def test_a_first_checkpoint_with_a_proof_cannot_be_processed(tmp_path):
    with pytest.raises(Inconsistent):
        a_witness(tmp_path).add_checkpoint(a_request(0, "abc", proof=[b"\0" * 32]))


def test_an_empty_log_with_another_root_cannot_be_processed(tmp_path):
    raw = sign(Checkpoint(LOG.name, 0, b"\0" * 32).format(), [LOG])
    with pytest.raises(Inconsistent):
        a_witness(tmp_path).add_checkpoint(a_request(0, "", raw=raw))


def test_two_roots_of_one_size_are_refused_and_kept_as_evidence(tmp_path):
    witness = a_witness(tmp_path)
    witness.add_checkpoint(a_request(0, "abc"))
    with pytest.raises(Inconsistent):
        witness.add_checkpoint(a_request(3, "abX"))
    (evidence,) = (tmp_path / "evidence").iterdir()
    kept = evidence.read_bytes()
    assert a_checkpoint("abX") in kept
    assert witness.checkpoint(state_file(tmp_path).stem) in kept


def test_no_cosignature_leaves_before_it_is_on_disk(tmp_path):
    def full(path, content):
        raise OSError(28, "No space left on device")

    witness = a_witness(tmp_path, write=full)
    with pytest.raises(Unavailable):
        witness.add_checkpoint(a_request(0, "abc"))
    assert size(witness) == 0
    assert a_witness(tmp_path).add_checkpoint(a_request(0, "abd"))


def test_at_the_moment_of_writing_nothing_was_answered(tmp_path):
    answered: list[bytes] = []
    seen: list[int] = []

    def write(path, content):
        seen.append(len(answered))
        write_durably(path, content)

    witness = a_witness(tmp_path, write=write)
    answered.append(witness.add_checkpoint(a_request(0, "abc")))
    assert seen == [0]
    assert size(Witness(tmp_path, COSIGNER, lambda: NOW)) == 3


def test_of_two_checkpoints_at_once_one_is_cosigned_and_nothing_is_rolled_back(tmp_path):
    inside, go = threading.Event(), threading.Event()

    def slow(path, content):
        inside.set()
        assert go.wait(30)
        write_durably(path, content)

    a_witness(tmp_path).add_checkpoint(a_request(0, "a"))
    results: dict[str, object] = {}

    def submit(name, witness, names):
        try:
            results[name] = witness.add_checkpoint(a_request(1, names))
        except Stale as refused:
            results[name] = refused.size

    first = threading.Thread(
        target=submit, args=("first", Witness(tmp_path, COSIGNER, lambda: NOW, slow), "abcde")
    )
    first.start()
    assert inside.wait(30)
    second = threading.Thread(
        target=submit, args=("second", Witness(tmp_path, COSIGNER, lambda: NOW), "abc")
    )
    second.start()
    go.set()
    first.join()
    second.join()
    assert isinstance(results["first"], bytes)
    assert results["second"] == 5
    assert size(a_witness(tmp_path)) == 5


def test_of_many_at_once_exactly_one_gets_each_size(tmp_path):
    witness = a_witness(tmp_path)
    results: list[object] = []

    def submit(names):
        try:
            results.append(witness.add_checkpoint(a_request(0, names)))
        except Stale as refused:
            results.append(refused.size)

    threads = [threading.Thread(target=submit, args=(NAMES[:new],)) for new in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, bytes) for one in results) == 1
    assert {one for one in results if isinstance(one, int)} == {size(witness)}


def test_a_damaged_memory_refuses_that_log_and_no_other(tmp_path):
    witness = a_witness(tmp_path)
    witness.add_checkpoint(a_request(0, "abc"))
    path = state_file(tmp_path)
    whole = path.read_bytes()
    other = a_signer("log.example/other", 3)
    witness.add_log((other.verifier,))
    for damaged in [b"", whole[:-9], whole.replace(b"\\n3\\n", b"\\n2\\n"), b"null", b"{}"]:
        path.write_bytes(damaged)
        with pytest.raises(Tampered, match="damaged"):
            witness.add_checkpoint(a_request(0, "abc"))
        with pytest.raises(Tampered):
            witness.add_log((LOG.verifier,))
        logs, problems = witness.logs()
        assert [one.origin for one in logs] == [other.name]
        assert len(problems) == 1
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    assert witness.add_checkpoint(a_request(3, "abcd"))


def test_a_memory_of_another_witness_is_refused(tmp_path):
    a_witness(tmp_path).add_checkpoint(a_request(0, "abc"))
    other = Witness(tmp_path, Cosigner.generate("witness.example/w1"), lambda: NOW)
    with pytest.raises(Tampered):
        other.add_checkpoint(a_request(3, "abcd"))


def test_a_log_that_changes_its_key_is_followed_with_both(tmp_path):
    witness, new = a_witness(tmp_path), a_signer(LOG.name, 8)
    witness.add_checkpoint(a_request(0, "abc"))
    witness.add_log((LOG.verifier, new.verifier))
    witness.add_checkpoint(a_request(3, "abcd"))
    witness.add_checkpoint(a_request(4, "abcde", raw=a_checkpoint("abcde", new)))
    witness.add_log((new.verifier,))
    with pytest.raises(Untrusted):
        witness.add_checkpoint(a_request(5, "abcdef"))


def test_a_log_removed_and_added_again_goes_on_where_it_was(tmp_path):
    witness = a_witness(tmp_path)
    witness.add_checkpoint(a_request(0, "abc"))
    witness.remove_log(LOG.name)
    with pytest.raises(UnknownLog):
        witness.add_checkpoint(a_request(3, "abcd"))
    assert witness.logs() == ((), ())
    assert witness.add_log((LOG.verifier,)).latest.size == 3


def test_monitors_get_the_latest_checkpoint_with_both_signatures(tmp_path):
    witness = a_witness(tmp_path)
    origin_hash = state_file(tmp_path).stem
    with pytest.raises(UnknownLog):
        witness.checkpoint(origin_hash)
    witness.add_checkpoint(a_request(0, "abc"))
    raw = witness.checkpoint(origin_hash)
    assert Checkpoint.open(raw, LOG.verifier).size == 3
    assert cosigned(raw, [COSIGNER.verifier])


@pytest.mark.parametrize("origin_hash", ["", "../witness", "A" * 64, "0" * 64, "0" * 63])
def test_no_other_file_can_be_reached(tmp_path, origin_hash):
    with pytest.raises(UnknownLog):
        a_witness(tmp_path).checkpoint(origin_hash)


def test_a_new_witness_keeps_its_key_for_itself(tmp_path):
    made = Witness.create(tmp_path / "w", "witness.example/mine", lambda: NOW)
    again = Witness.create(tmp_path / "w", None, lambda: NOW)
    assert made.vkey == again.vkey
    assert again.name == "witness.example/mine"
    assert stat.S_IMODE((tmp_path / "w" / "witness.key").stat().st_mode) == 0o600
    with pytest.raises(Invalid, match="named"):
        Witness.create(tmp_path / "w", "witness.example/other", lambda: NOW)


def test_a_witness_is_made_in_no_folder_that_holds_something_else(tmp_path):
    (tmp_path / "casemate.json").write_text("{}")
    with pytest.raises(Invalid):
        Witness.create(tmp_path, None, lambda: NOW)
    with pytest.raises(Invalid):
        Witness.open(tmp_path / "nothing", lambda: NOW)


def test_a_damaged_key_is_never_replaced(tmp_path):
    Witness.create(tmp_path / "w", None, lambda: NOW)
    (tmp_path / "w" / "witness.key").write_bytes(b"{}")
    with pytest.raises(Tampered):
        Witness.create(tmp_path / "w", None, lambda: NOW)
