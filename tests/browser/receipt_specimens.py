"""Receipts to try a verifier on, and ways to change them: made from a tree held in memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from casemate.ledger.cosignature import Cosigner
from casemate.ledger.merkle import inclusion_proof, leaf_hash, root_hash
from casemate.ledger.note import Note, Signer
from casemate.ledger.proof import Checkpoint, Proof
from casemate.ledger.receipt import Opening, Receipt, Recorded, canonical, commit

LOG = Signer.from_seed("casemate.example/log", b"\x01" * 32)
NEXT = Signer.from_seed("casemate.example/log", b"\x02" * 32)
WITNESSES = [Cosigner.from_seed(f"witness.example/{n}", bytes([n]) * 32) for n in (7, 8, 9)]
TEXT = "Die Gebühr beträgt 12 €. 𝔖ie ist fällig 😀."
DOCUMENT = "Artikel 3 😀. Die Gebühr beträgt 12 €. 𝔖ie ist fällig 😀. Ende."
QUOTES = ("Die Gebühr beträgt 12 €.", "𝔖ie ist fällig 😀")
DIGEST = "sha256:" + "1" * 64


def contents(**changes: Any) -> dict[str, Any]:
    """What a run's entries commit to."""
    answer = {
        "text": TEXT,
        "citations": [
            {
                "source": 0,
                "start": 100 + DOCUMENT.index(quote),
                "end": 100 + DOCUMENT.index(quote) + len(quote),
                "quote": quote,
            }
            for quote in QUOTES
        ],
        "sentences": [{"start": 0, "end": len(TEXT), "citations": [0, 1]}],
    }
    source = {
        "document": "gebühren 😀.pdf",
        "digest": "sha256:" + "0" * 64,
        "start": 100,
        "end": 100 + len(DOCUMENT),
        "text": DOCUMENT,
        # keys in whose order UTF-16 and code points differ
        "\ufb33": 1,
        "\U0001f600": 2,
    }
    made: dict[str, Any] = {
        "question": {"text": "Wat kascht et?\nGenau?", "history": []},
        "answer": answer,
        "sources": [source],
        "steps": {"steps": [], "found": None, "ok": True},
    }
    return made | changes


def receipt(
    *,
    opened: tuple[str, ...] = ("question", "answer", "sources"),
    admitted: dict[str, Any] | None = None,
    finished: dict[str, Any] | None = None,
    signers: tuple[Signer, ...] = (LOG,),
    cosigners: tuple[Cosigner, ...] = (),
    before: int = 5,
    **changes: Any,
) -> bytes:
    """The receipt of a run in a log of ``before`` entries, its own two, and six more."""
    held = contents(**changes)
    nonces = {name: bytes([at]) * 32 for at, name in enumerate(held)}
    head = {
        "v": 1,
        "time": "2026-11-24T22:10:03.5Z",
        **{name: f"{name} 1" for name in ("run", "tenant", "principal", "use_case", "label")},
        "model": {"id": "quote", "digest": DIGEST},
        "policy": {"decision": "allow", "deciding": ["base", "own"], "digest": DIGEST},
    }
    committed = {name: commit(nonces[name], held[name]) for name in held}
    first = canonical(
        {**head, "kind": "run.admitted", "question": committed.pop("question")} | (admitted or {})
    )
    link = {"index": before, "leaf": f"sha256:{leaf_hash(first).hex()}"}
    last = canonical(
        {**head, "kind": "run.finished", "outcome": "answered", "admitted": link, **committed}
        | (finished or {})
    )
    fill = [leaf_hash(b"%d" % at) for at in range(before + 6)]
    leaves = [*fill[:before], leaf_hash(first), leaf_hash(last), *fill[before:]]
    note = Note.parse(Checkpoint(LOG.name, len(leaves), root_hash(leaves)).sign(signers))
    more = tuple(one.cosign(note.text, 1_780_000_000 + at) for at, one in enumerate(cosigners))
    noted = Note(note.text, (*note.signatures, *more)).encode()

    def recorded(at: int, entry: bytes) -> Recorded:
        def read(height: int, index: int) -> bytes:
            return root_hash(leaves[index << height : (index + 1) << height])

        path = inclusion_proof(at, len(leaves), read)
        return Recorded(entry, Proof(at, tuple(path), noted).format())

    openings = tuple(
        Opening("admitted" if name == "question" else "finished", name, nonces[name], held[name])
        for name in held
        if name in opened
    )
    return Receipt(recorded(before, first), recorded(before + 1, last), openings).encode()


def respelled(raw: bytes) -> Iterator[bytes]:
    """The same values in spellings that are not the canonical one."""
    value = json.loads(raw)
    yield json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
    yield json.dumps(value, ensure_ascii=False, sort_keys=True).encode()
    yield raw + b"\n"
    yield b" " + raw
    yield b"\xef\xbb\xbf" + raw
    yield raw.replace(b'"v":1}', b'"v":1.0}')
    yield raw.replace(b'"v":1}', b'"v":1e0}')
    yield raw.replace(b'"v":1}', b'"v":01}')
    yield raw.replace(b'"v":1}', b'"v":true}')
    yield raw.replace(b'"v":1}', b'"v":"1"}')
    yield raw.replace(b'"v":1}', b'"v":9007199254740993}')
    yield raw.replace(b'"v":1}', b'"v":1,"v":1}')
    yield raw.replace(b'"v":1}', b'"v":1,"w":1}')
    yield raw.replace(b'"kind":', b'"kind":"casemate.receipt","kind":')
    yield raw.replace(b'"kind"', b'"k\\u0069nd"')
    yield raw.replace(b"casemate.receipt", b"casemate\\/receipt")
    yield raw.replace("😀".encode(), b"\\ud83d\\ude00")
    yield raw.replace("😀".encode(), b"\\ud83d")
    yield raw.replace("😀".encode(), b"\xed\xa0\xbd")
    yield raw.decode().encode("utf-16")
    yield b"[" * 100_000 + b"]" * 100_000
    yield b""


def edited(raw: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The receipt with its values changed, canonical again."""
    value = json.loads(raw)
    change(value)
    return canonical(value)


def edits(raw: bytes) -> Iterator[bytes]:
    """Receipts that are canonical JSON and wrong in one place."""

    def proof(old: str, new: str) -> Callable[[dict[str, Any]], object]:
        return lambda r: r["finished"].update(proof=r["finished"]["proof"].replace(old, new, 1))

    value = json.loads(raw)
    lines = value["finished"]["proof"].split("\n")
    entry = base64.b64decode(value["finished"]["entry"])
    for old, new in (
        ("index 6", "index 06"),
        ("index 6", "index +6"),
        ("index 6", "index 7"),
        ("index 6", "index 5"),
        ("index 6", "index 99999999999999999999"),
        ("index 6", "index 9223372036854775808"),
        ("index 6", "index 9223372036854775807"),
        ("index 6", "extra AAAA\nindex 6"),
        ("index 6\n", ""),
        ("c2sp.org/", "c2sp.example/"),
        (lines[2], lines[2][:-1]),
        (lines[2], lines[2] + " "),
        (lines[2], " " + lines[2]),
        (lines[2], lines[3]),
        (lines[2] + "\n", ""),
        (lines[2], lines[2] + "\n" + lines[2]),
        ("\n13\n", "\n013\n"),
        ("\n13\n", "\n14\n"),
        ("\n\n", "\n"),
        ("\n\n", "\n\n\n"),
        ("— ", "- "),
        ("— ", "—  "),
        ("— ", "—\u00a0"),
        ("— casemate", "— \ufeffcasemate"),
        ("— casemate", "— \u0085casemate"),
        ("casemate.example/log\n", "casemate.example/lag\n"),
    ):
        yield edited(raw, proof(old, new))
    yield edited(raw, lambda r: r["finished"].update(proof=r["finished"]["proof"] + "\n"))
    yield edited(raw, lambda r: r["finished"].update(proof=r["finished"]["proof"][:-1]))
    yield raw.replace(b'"question"', b'"__proto__"')
    yield edited(raw, lambda r: r["openings"].reverse())
    yield edited(raw, lambda r: r["openings"].append(r["openings"][0]))
    yield edited(raw, lambda r: r["openings"].pop())
    yield edited(raw, lambda r: r["openings"].clear())
    yield edited(raw, lambda r: r["openings"][0].update(entry="other"))
    yield edited(raw, lambda r: r["openings"][0].update(nonce="AAAA"))
    yield edited(raw, lambda r: r["openings"][0].update(nonce="AB=="))
    yield edited(raw, lambda r: r["openings"][-1].update(content=None))
    yield edited(raw, lambda r: r.update(admitted=r["finished"]))
    yield edited(raw, lambda r: r.update(finished=r["admitted"]))
    yield edited(raw, lambda r: r.update(openings={}))
    yield edited(raw, lambda r: r["finished"].update(entry=base64.b64encode(entry + b" ").decode()))
    yield edited(raw, lambda r: r["finished"].update(entry=r["finished"]["entry"].rstrip("=")))


def signed_but_wrong() -> Iterator[bytes]:
    """Receipts whose every signature and proof holds, of a log that recorded nonsense."""
    policy = {"decision": "allow", "deciding": [], "digest": DIGEST}
    for side in ("admitted", "finished"):
        for change in (
            {"v": 2},
            {"v": True},
            {"kind": "run"},
            {"run": "r2"},
            {"principal": "p2"},
            {"label": 7},
            {"label": "other"},
            {"time": "yesterday"},
            {"time": "2026-11-24T22:10:03Z\n"},
            {"time": "٢٠٢٦-11-24T22:10:03Z"},
            {"model": None},
            {"model": {"id": "quote", "digest": DIGEST + "1"}},
            {"model": {"id": "quote", "digest": DIGEST, "toString": 1}},
            {"policy": policy},
            {"policy": policy | {"decision": "deny"}},
            {"policy": policy | {"deciding": [1]}},
            {"policy": policy | {"deciding": ["one"]}},
            {"policy": policy | {"digest": DIGEST.upper()}},
            {"witnesses": {"of": 3, "needed": 2, "failing": "open"}},
            {"witnesses": {"of": 3, "needed": 2, "failing": "closed"}},
            {"witnesses": {"of": 3, "needed": 4, "failing": "open"}},
            {"witnesses": {"of": True, "needed": 1, "failing": "open"}},
            {"witnesses": {"of": 101, "needed": 1, "failing": "open"}},
            {"witnesses": []},
            {"\U0001f600": DIGEST, "\ufb33": DIGEST[:-1] + "2", "__proto__": DIGEST[:-1] + "3"},
            {"use_case": "a\x1b[2J\u202eb\u2028c\u00a0d"},
        ):
            yield receipt(**{side: change})  # type: ignore[arg-type]
    for change in (
        {"outcome": "perhaps"},
        {"outcome": "failed"},
        {"admitted": None},
        {"admitted": {"index": True, "leaf": ""}},
        {"admitted": {"index": 5, "leaf": DIGEST}},
        {"answer": "none"},
        {"answer": None},
    ):
        yield receipt(finished=change)
    good = contents()
    answer, source = good["answer"], good["sources"][0]
    citation = answer["citations"][0]
    for other in (
        {"text": 7},
        {"citations": {}},
        {"citations": [{}], "sentences": []},
        {"citations": [], "sentences": []},
        {"sentences": [{"start": 0, "end": len(TEXT) + 1, "citations": []}]},
        {"sentences": [{"start": 0, "end": len(TEXT), "citations": [2]}]},
        {"sentences": [{"start": 0, "end": 1, "citations": [True]}]},
        {"sentences": [{"start": 2, "end": 1, "citations": []}]},
        {"sentences": [{"start": -1, "end": 1, "citations": []}]},
        *(
            {"citations": [citation | wrong], "sentences": []}
            for wrong in (
                {"start": citation["start"] + 1},
                {"end": citation["end"] + 1},
                {"start": citation["start"] + 1, "end": citation["end"] + 1},
                {"source": 1},
                {"source": -1},
                {"source": False},
                {"quote": citation["quote"][:-1]},
                {"start": citation["end"], "quote": ""},
            )
        ),
    ):
        yield receipt(answer=answer | other)
    yield receipt(answer="text")
    for wrong in (
        {"text": "short"},
        {"start": 101},
        {"start": -100, "end": len(DOCUMENT) - 100},
        {"document": None},
        {"digest": "sha256:0"},
        # as long as UTF-16 has it, not as code points have it
        {"end": source["start"] + len(DOCUMENT.encode("utf-16-le")) // 2},
    ):
        yield receipt(sources=[source | wrong])
    yield receipt(sources={})
    yield receipt(sources=[])
    yield receipt(sources=[source, source])
    yield receipt(question="no object")
    yield receipt(question={"text": 5})
