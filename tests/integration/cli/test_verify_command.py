"""``casemate verify``: one flipped byte, exit 1, and the part that fails by name."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
from house_builders import DOG_TAX, FEES, WASTE, a_house, casemate

from casemate.errors import CasemateError
from casemate.ledger.verify import Unproven, verify

PARTS = {"key", "receipt", "checkpoint signature", "run", "answer", "quotation"}
PARTS |= {"inclusion of admitted", "inclusion of finished"}
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
