"""``casemate verify``: one flipped byte, exit 1, and the part that fails by name."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from house_builders import DOG_TAX, FEES, WASTE, a_house, casemate

from casemate.cli.main import casemate as whole
from casemate.errors import CasemateError
from casemate.ledger import folder
from casemate.ledger.command import main
from casemate.ledger.cosignature import Cosigner
from casemate.ledger.folder import LARGEST
from casemate.ledger.note import Note
from casemate.ledger.proof import Proof
from casemate.ledger.receipt import Receipt, Recorded
from casemate.ledger.verify import Unproven, Verifying, verify

PARTS = {"key", "receipt", "checkpoint signature", "run", "answer", "quotation"}
PARTS |= {"inclusion of admitted", "inclusion of finished", "witnesses"}
PARTS |= {f"opening of {field}" for field in ("question", "answer", "sources", "steps")}


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with a_house(tmp_path_factory.mktemp("proof") / "data") as house:
        house.add("notes", fees=FEES, waste=WASTE)
        finished = house.ask(DOG_TAX)
        return {
            "receipt": house.installation.runs.receipt(house.owner, finished.run),
            "key": house.installation.log.vkey.encode(),
            "answer": finished.answer.text.encode(),
        }


def verified(folder: Path, proof: dict[str, bytes], *more: str) -> Any:
    for name, content in proof.items():
        (folder / name).write_bytes(content)
    return casemate(
        "verify", folder / "receipt", "--key", folder / "key", "--answer", folder / "answer", *more
    )


def test_a_good_receipt_says_what_is_proven_and_what_is_not(
    tmp_path: Path, proof: dict[str, bytes]
) -> None:
    done = verified(tmp_path, proof).fine()
    assert "Proven:" in done.out
    assert "Not proven:" in done.out
    found = verified(tmp_path, proof, "--json").fine().json
    assert found["facts"]["answer_compared"] is True
    assert found["proven"]
    assert found["not_proven"]


def test_a_key_file_with_a_last_line_break_is_the_same_key(
    tmp_path: Path, proof: dict[str, bytes]
) -> None:
    verified(tmp_path, {**proof, "key": proof["key"] + b"\n"}).fine()


def changed(receipt: bytes, change: Any) -> bytes:
    """The receipt with one value changed, canonical again."""
    value = json.loads(receipt)
    change(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _entry(name: str) -> Any:
    def change(value: Any) -> None:
        entry = base64.b64decode(value[name]["entry"])
        entry = entry.replace(b'"run":"r_', b'"run":"q_')
        value[name]["entry"] = base64.b64encode(entry).decode()

    return change


def _opening(field: str) -> Any:
    def change(value: Any) -> None:
        (one,) = [one for one in value["openings"] if one["field"] == field]
        one["nonce"] = base64.b64encode(bytes(32)).decode()

    return change


def _hash_of_the_path(value: Any) -> None:
    lines = value["finished"]["proof"].split("\n")
    at = next(i for i, line in enumerate(lines) if len(line) == 44 and line.endswith("="))
    lines[at] = base64.b64encode(bytes(32)).decode()
    value["finished"]["proof"] = "\n".join(lines)


def _signature(value: Any) -> None:
    lines = value["admitted"]["proof"].split("\n")
    at = max(i for i, line in enumerate(lines) if line.startswith("— "))
    head, signed = lines[at].rsplit(" ", 1)
    raw = bytearray(base64.b64decode(signed))
    raw[-1] ^= 1
    lines[at] = f"{head} {base64.b64encode(raw).decode()}"
    value["admitted"]["proof"] = "\n".join(lines)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("inclusion of admitted", _entry("admitted")),
        ("inclusion of finished", _entry("finished")),
        ("inclusion of finished", _hash_of_the_path),
        ("checkpoint signature", _signature),
        ("opening of question", _opening("question")),
        ("opening of answer", _opening("answer")),
        ("opening of sources", _opening("sources")),
        ("opening of steps", _opening("steps")),
        ("receipt", lambda value: value.update(v=2)),
        ("receipt", lambda value: value.update(more=1)),
    ],
)
def test_a_change_in_each_region_exits_1_and_names_the_part(
    tmp_path: Path, proof: dict[str, bytes], part: str, change: Any
) -> None:
    bad = {**proof, "receipt": changed(proof["receipt"], change)}
    assert f"Not proven: {part}: " in verified(tmp_path, bad).refused()
    done = verified(tmp_path, bad, "--json")
    assert done.code == 1
    assert done.json["proven"] is False
    assert done.json["part"] == part
    assert done.err == ""


def test_changing_nothing_keeps_it_proven(tmp_path: Path, proof: dict[str, bytes]) -> None:
    same = changed(proof["receipt"], lambda value: None)
    assert same == proof["receipt"]


@pytest.mark.parametrize(
    ("name", "part"), [("answer", "answer"), ("key", "key"), ("receipt", "receipt")]
)
def test_a_file_with_one_byte_more_is_not_proven(
    tmp_path: Path, proof: dict[str, bytes], name: str, part: str
) -> None:
    bad = {**proof, name: proof[name] + b" "}
    assert f"Not proven: {part}: " in verified(tmp_path, bad).refused()


def test_the_key_of_another_log_is_named(tmp_path: Path, proof: dict[str, bytes]) -> None:
    with a_house(tmp_path / "other") as house:
        other = house.installation.log.vkey.encode()
    line = verified(tmp_path, {**proof, "key": other}).refused()
    assert "Not proven: checkpoint signature" in line


@pytest.mark.parametrize("missing", ["receipt", "key", "answer"])
def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, proof: dict[str, bytes], missing: str
) -> None:
    verified(tmp_path, proof)
    (tmp_path / missing).unlink()
    files = [tmp_path / "receipt", "--key", tmp_path / "key", "--answer", tmp_path / "answer"]
    assert missing in casemate("verify", *files).refused()


def test_no_flipped_bit_of_a_receipt_stays_proven(proof: dict[str, bytes]) -> None:
    key, answer = proof["key"].decode(), proof["answer"]
    verify(proof["receipt"], key, answer)
    drawn = random.Random(7)
    size = len(proof["receipt"])
    for place in sorted(drawn.sample(range(size * 8), 600)):
        bad = bytearray(proof["receipt"])
        bad[place // 8] ^= 1 << place % 8
        with pytest.raises(Unproven) as caught:
            verify(bytes(bad), key, answer)
        # A flipped bit may fall into the name of an opening, which is then named as it reads.
        assert caught.value.part in PARTS or caught.value.part.startswith("opening of ")


@pytest.mark.parametrize("name", ["key", "answer"])
def test_no_flipped_bit_of_key_or_answer_stays_proven(proof: dict[str, bytes], name: str) -> None:
    for place in range(len(proof[name]) * 8):
        bad = bytearray(proof[name])
        bad[place // 8] ^= 1 << place % 8
        files = {**proof, name: bytes(bad)}
        with pytest.raises((Unproven, UnicodeDecodeError)):
            verify(files["receipt"], files["key"].decode(), files["answer"])


def test_a_flipped_byte_of_any_tile_or_bundle_is_found_by_a_check(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        for _ in range(3):
            house.ask(DOG_TAX)
    files = [path for path in (data / "ledger").rglob("*") if path.is_file()]
    assert len(files) >= 3
    casemate("ledger", "check", data=data).fine()
    for path in files:
        content = path.read_bytes()
        at = len(content) // 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(CasemateError), a_house(data) as house:
            house.installation.log.check()
        if path.name == "checkpoint":
            casemate("ledger", "check", data=data).refused()
        path.write_bytes(content)
    casemate("ledger", "check", data=data).fine()


# Many receipts at once


@pytest.fixture
def heap(tmp_path: Path, proof: dict[str, bytes]) -> Path:
    """A folder of receipts, three good ones and one that is not, and the key beside it."""
    (tmp_path / "key").write_bytes(proof["key"])
    heap = tmp_path / "heap"
    (heap / "deep" / "er").mkdir(parents=True)
    for name in ("a.json", "deep/b.json", "deep/er/c.json"):
        (heap / name).write_bytes(proof["receipt"])
    (heap / "deep" / "bad.json").write_bytes(changed(proof["receipt"], _opening("answer")))
    (heap / "notes.txt").write_text("no receipt")
    return heap


def checked(heap: Path, *more: str) -> Result:
    return CliRunner().invoke(
        whole, ["verify", str(heap), "--key", str(heap.parent / "key"), *more], obj={}
    )


def test_a_folder_gets_a_line_for_each_that_fails_and_a_summary(heap: Path) -> None:
    done = checked(heap)
    assert done.exit_code == 1
    line, summary = done.stdout.splitlines()
    bad = heap / "deep" / "bad.json"
    assert line == f"{bad}: opening of answer: the content is not what the entry committed to"
    assert summary == "4 receipts: 3 proven, 1 not proven."
    assert done.stderr == ""
    (heap / "deep" / "bad.json").unlink()
    done = checked(heap)
    assert (done.exit_code, done.stdout) == (0, "3 receipts: 3 proven, 0 not proven.\n")


def test_a_folder_as_json_is_a_line_for_each_receipt_and_one_of_numbers(heap: Path) -> None:
    done = checked(heap, "--json")
    assert done.exit_code == 1
    *found, numbers = [json.loads(line) for line in done.stdout.splitlines()]
    assert numbers == {"receipts": 4, "proven": 3, "failed": 1}
    assert sorted(one["proven"] for one in found) == [False, True, True, True]
    (bad,) = [one for one in found if not one["proven"]]
    assert bad["part"] == "opening of answer"
    assert bad["receipt"] == str(heap / "deep" / "bad.json")


def test_both_command_lines_say_the_same(heap: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--json"]):
        assert main([str(heap), "--key", str(heap.parent / "key"), *more]) == 1
        assert capsys.readouterr().out == checked(heap, *more).stdout


def test_an_empty_folder_proves_nothing(heap: Path) -> None:
    (heap / "empty").mkdir()
    done = CliRunner().invoke(
        whole, ["verify", str(heap / "empty"), "--key", str(heap.parent / "key")], obj={}
    )
    assert done.exit_code == 1
    assert "No receipt was found" in done.stderr


def test_a_hostile_folder_is_told_apart_file_by_file(heap: Path, proof: dict[str, bytes]) -> None:
    outside = heap.parent / "outside"
    outside.mkdir()
    (outside / "out.json").write_bytes(proof["receipt"])
    (heap / "link.json").symlink_to(outside / "out.json")
    (heap / "ring").symlink_to(heap)
    os.mkfifo(heap / "pipe.json")
    (heap / "folder.json").mkdir()
    with open(heap / "huge.json", "wb") as file:
        file.truncate(LARGEST + 1)
    (heap / "empty.json").touch()
    (heap / "\x1b[2J.json").write_bytes(b"x")
    with open(os.fsencode(heap) + b"/\xff.json", "wb") as file:
        file.write(proof["receipt"])
    done = checked(heap)
    assert done.exit_code == 1
    *lines, summary = done.stdout.splitlines()
    reasons = {Path(line.split(": ")[0]).name: line.split(": ", 1)[1] for line in lines}
    assert reasons == {
        "bad.json": "opening of answer: the content is not what the entry committed to",
        "link.json": "file: it is a link: not followed",
        "ring": "file: it is a link: not followed",
        "pipe.json": "file: it is no plain file",
        "huge.json": "file: it is larger than 16,777,216 bytes",
        "empty.json": "receipt: not JSON in UTF-8",
        "\ufffd[2J.json": "receipt: not JSON in UTF-8",
    }
    assert summary == "11 receipts: 4 proven, 7 not proven."


def test_what_cannot_be_read_is_not_proven(heap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may read everything, so the system's answer is put in its place
    real = os.open

    def refusing(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("a.json"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    done = checked(heap)
    assert f"{heap / 'a.json'}: file: it cannot be read: Permission denied" in done.stdout


def test_an_answer_goes_with_one_receipt_only(heap: Path) -> None:
    assert checked(heap, "--answer", str(heap / "a.json")).exit_code == 2


def test_the_memory_of_many_receipts_is_the_memory_of_a_few(
    tmp_path: Path, proof: dict[str, bytes]
) -> None:
    """Links to one file stand for as many files: hard ones, which are files like any other."""
    (tmp_path / "key").write_bytes(proof["key"])
    (tmp_path / "one.json").write_bytes(b"{}")  # refused early: what counts here is the number
    heap = tmp_path / "heap"
    heap.mkdir()
    for number in range(30_000):
        os.link(tmp_path / "one.json", heap / f"{number}.json")

    def used(*paths: Path) -> int:
        code = (
            "import sys, resource\nfrom casemate.ledger.command import main\nmain(sys.argv[1:])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        files = [*map(str, paths), "--key", str(tmp_path / "key")]
        done = subprocess.run(
            [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
        )
        return int(done.stderr) * 1024

    few = used(tmp_path / "one.json", tmp_path / "one.json")
    assert used(heap) - few < 4 * 1024 * 1024


def test_a_key_file_that_is_not_text_is_named(heap: Path) -> None:
    (heap.parent / "key").write_bytes(b"\xff")
    done = checked(heap)
    assert isinstance(done.exception, CasemateError)
    assert "Not proven: key" in done.exception.what


def test_witnesses_are_named_on_the_command_line(tmp_path: Path, proof: dict[str, bytes]) -> None:
    for name, content in proof.items():
        (tmp_path / name).write_bytes(content)
    witness = Cosigner.from_seed("witness.example", bytes(range(32)))
    (tmp_path / "witness").write_text(witness.vkey + "\n")
    files = ["verify", str(tmp_path / "receipt"), "--key", str(tmp_path / "key")]
    named = [*files, "--witness", str(tmp_path / "witness")]
    refused = CliRunner().invoke(whole, named, obj={})
    assert isinstance(refused.exception, CasemateError)
    assert "Not proven: witnesses: 0 of the 1" in refused.exception.what
    enough = CliRunner().invoke(whole, [*named, "--witnesses-needed", "0"], obj={})
    assert enough.exit_code == 0
    parsed = Receipt.parse(proof["receipt"])
    noted = [_cosigned(one, witness) for one in (parsed.admitted, parsed.finished)]
    (tmp_path / "receipt").write_bytes(Receipt(*noted, parsed.openings).encode())
    done = CliRunner().invoke(whole, named, obj={})
    assert "witness witness.example cosigned this history" in done.stdout


def _cosigned(recorded: Recorded, witness: Cosigner) -> Recorded:
    inclusion = recorded.inclusion
    note = Note.parse(inclusion.checkpoint)
    noted = Note(note.text, (*note.signatures, witness.cosign(note.text, 1_780_000_000)))
    return Recorded(
        recorded.entry, Proof(inclusion.index, inclusion.hashes, noted.encode()).format()
    )


def test_several_processes_find_what_one_finds(
    heap: Path, proof: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_ENOUGH", 2)
    monkeypatch.setattr(folder, "_SHARE", 1)
    verifying = Verifying(proof["key"].decode())
    one, two = (list(folder.check([heap], verifying, count)) for count in (1, 2))
    assert one == two
    assert len(one) == 4
