"""A receipt: one file that proves one run to anybody who holds the log's verifying key.

It carries the two entries of the run with their inclusion proofs, and openings: content with the
nonce under which an entry committed to it. A receipt is canonical JSON, byte for byte, and every
value in it is bound by a signature, a proof or a commitment.
Source: RFC 8785 (canonical JSON); C2SP tlog-proof.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from casemate.ledger.note import NoteError, decode_base64
from casemate.ledger.proof import Proof, ProofError

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"

KIND = "casemate.receipt"
VERSION = 1
NONCE_SIZE = 32
ENTRIES = ("admitted", "finished")
MAX_INTEGER = 2**53 - 1


class ReceiptError(ValueError):
    """Bytes are not a receipt, or a value cannot be written canonically."""


def canonical(value: object) -> bytes:
    """One value as canonical JSON: UTF-8, keys sorted by UTF-16 code units, no spaces.

    A tuple is written as a list. Raises ReceiptError for what would be read differently
    elsewhere: floats, integers beyond 2^53 - 1, keys that are not strings, lone surrogates; and
    for any other type.
    Source: RFC 8785.
    """
    try:
        text = json.dumps(
            _ordered(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ReceiptError("a lone surrogate has no canonical form") from None
    except RecursionError:
        raise ReceiptError("the value is nested too deeply") from None


def parse_canonical(raw: bytes) -> Json:
    """The value of canonical JSON.

    Raises ReceiptError unless ``raw`` is, byte for byte, what ``canonical`` makes of the value;
    that also refuses duplicate keys. Source: RFC 8785.
    """
    try:
        value: Json = json.loads(
            raw.decode("utf-8"), parse_float=_refuse_number, parse_constant=_refuse_number
        )
    except ReceiptError:
        raise
    except (ValueError, RecursionError):
        raise ReceiptError("not JSON in UTF-8") from None
    if canonical(value) != raw:
        raise ReceiptError("not canonical JSON")
    return value


def commit(nonce: bytes, content: object) -> str:
    """The commitment to ``content``: ``sha256:`` and the hex of SHA-256(nonce || canonical).

    Raises ReceiptError if the nonce has not 32 bytes or the content has no canonical form.
    """
    if len(nonce) != NONCE_SIZE:
        raise ReceiptError(f"a nonce has {NONCE_SIZE} bytes")
    return "sha256:" + hashlib.sha256(nonce + canonical(content)).hexdigest()


@dataclass(frozen=True)
class Opening:
    """What an entry committed to: ``field`` of ``entry`` ("admitted" or "finished")."""

    entry: str
    field: str
    nonce: bytes
    content: Any


@dataclass(frozen=True)
class Recorded:
    """One entry's bytes, and the tlog-proof text that shows it in the log."""

    entry: bytes
    proof: str


@dataclass(frozen=True)
class Receipt:
    """The proof of one run, as its holder may see it.

    Openings stand in one order (admitted before finished, then by field) and are unique, so that
    a receipt has one spelling. Raises ReceiptError otherwise.
    """

    admitted: Recorded
    finished: Recorded
    openings: tuple[Opening, ...] = ()

    def __post_init__(self) -> None:
        places = [(opening.entry, opening.field) for opening in self.openings]
        if any(entry not in ENTRIES for entry, _ in places):
            raise ReceiptError("an opening belongs to the admitted or the finished entry")
        if len(set(places)) != len(places):
            raise ReceiptError("a field is opened twice")
        if any(len(opening.nonce) != NONCE_SIZE for opening in self.openings):
            raise ReceiptError(f"a nonce has {NONCE_SIZE} bytes")
        ordered = sorted(self.openings, key=lambda opening: (opening.entry, opening.field))
        object.__setattr__(self, "openings", tuple(ordered))

    def encode(self) -> bytes:
        """The receipt as canonical JSON, without a final newline.

        Raises ReceiptError if some content has no canonical form.
        """
        return canonical(
            {
                "v": VERSION,
                "kind": KIND,
                "admitted": _recorded_json(self.admitted),
                "finished": _recorded_json(self.finished),
                "openings": [
                    {
                        "entry": opening.entry,
                        "field": opening.field,
                        "nonce": base64.b64encode(opening.nonce).decode(),
                        "content": opening.content,
                    }
                    for opening in self.openings
                ],
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> Receipt:
        """Read a receipt; nothing in it is proven yet: that is the work of ``verify``.

        Raises ReceiptError unless it is canonical, complete, and free of anything unknown.
        """
        top = _fields(parse_canonical(raw), "admitted", "finished", "kind", "openings", "v")
        if top["kind"] != KIND:
            raise ReceiptError(f"its kind is not {KIND}")
        if type(top["v"]) is not int or top["v"] != VERSION:
            raise ReceiptError(f"its version is not {VERSION}")
        openings = top["openings"]
        if not isinstance(openings, list):
            raise ReceiptError("its openings are not a list")
        receipt = cls(
            _recorded(top["admitted"]),
            _recorded(top["finished"]),
            tuple(_opening(one) for one in openings),
        )
        if receipt.encode() != raw:
            raise ReceiptError("its openings are not in order")
        return receipt


def _ordered(value: object) -> Json:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ReceiptError("an integer beyond 2^53 - 1 has no canonical form")
        return value
    if isinstance(value, list | tuple):
        return [_ordered(one) for one in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ReceiptError("a key that is not a string has no canonical form")
        # RFC 8785, 3.2.3: UTF-16 order differs from code point order above U+FFFF
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _ordered(value[key]) for key in keys}
    raise ReceiptError(f"a {type(value).__name__} has no canonical form here")


def _refuse_number(text: str) -> Json:
    raise ReceiptError("only whole numbers are written in a receipt")


def _fields(value: Json, *names: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ReceiptError("an object is missing")
    if set(value) != set(names):
        raise ReceiptError(f"an object has not exactly the fields {', '.join(sorted(names))}")
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise ReceiptError("a text is missing")
    return value


def _bytes(value: Json) -> bytes:
    try:
        return decode_base64(_text(value))
    except NoteError as error:
        raise ReceiptError(f"it holds {error}") from None


def _recorded_json(recorded: Recorded) -> dict[str, str]:
    return {"entry": base64.b64encode(recorded.entry).decode(), "proof": recorded.proof}


def _recorded(value: Json) -> Recorded:
    found = _fields(value, "entry", "proof")
    text = _text(found["proof"])
    try:
        proof = Proof.parse(text)
    except ProofError as error:
        raise ReceiptError(f"an inclusion proof: {error}") from None
    if proof.extra is not None:
        raise ReceiptError("an inclusion proof carries extra data that nothing authenticates")
    return Recorded(_bytes(found["entry"]), text)


def _opening(value: Json) -> Opening:
    found = _fields(value, "content", "entry", "field", "nonce")
    return Opening(
        _text(found["entry"]), _text(found["field"]), _bytes(found["nonce"]), found["content"]
    )
