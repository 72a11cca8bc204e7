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
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as attribute  # an opening has a field of its own
from functools import cached_property
from typing import Any, TypeAlias

from casemate.ledger.note import NoteError, decode_base64
from casemate.ledger.proof import Proof, ProofError

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"

KIND = "casemate.receipt"
VERSION = 1
NONCE_SIZE = 32
ENTRIES = ("admitted", "finished")
_ABOVE_PLANE_ZERO = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")
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
        require_canonical(value)
        written = _ENCODER.encode(value).encode("utf-8")
        if not in_plane_zero(written):
            written = _UNSORTED.encode(_ordered(value)).encode("utf-8")
        return written
    except UnicodeEncodeError:
        raise ReceiptError("a lone surrogate has no canonical form") from None
    except RecursionError:
        raise ReceiptError("the value is nested too deeply") from None


def parse_canonical(raw: bytes) -> Json:
    """The value of canonical JSON.

    Raises ReceiptError unless ``raw`` is, byte for byte, what ``canonical`` makes of the value;
    that also refuses duplicate keys. Source: RFC 8785.
    """
    text, value = _read(raw)
    if _write(value, in_plane_zero(raw)) != text:
        raise ReceiptError("not canonical JSON")
    return value


def commit(nonce: bytes, content: object) -> str:
    """The commitment to ``content``: ``sha256:`` and the hex of SHA-256(nonce || canonical).

    Raises ReceiptError if the nonce has not 32 bytes or the content has no canonical form.
    """
    return commit_written(nonce, canonical(content))


def commit_written(nonce: bytes, written: bytes) -> str:
    """As ``commit``, to content that is canonical JSON already."""
    if len(nonce) != NONCE_SIZE:
        raise ReceiptError(f"a nonce has {NONCE_SIZE} bytes")
    return "sha256:" + hashlib.sha256(nonce + written).hexdigest()


@dataclass(frozen=True)
class Opening:
    """What an entry committed to: ``field`` of ``entry`` ("admitted" or "finished")."""

    entry: str
    field: str
    nonce: bytes
    content: Any
    _text: str | None = attribute(default=None, compare=False, repr=False)  # what parsing found

    @property
    def written(self) -> str:
        """The content as canonical JSON. Raises ReceiptError if it has no canonical form."""
        return canonical(self.content).decode() if self._text is None else self._text

    @property
    def commitment(self) -> str:
        """What the entry has to have committed to. Raises ReceiptError as ``commit`` does."""
        return commit_written(self.nonce, self.written.encode())


@dataclass(frozen=True)
class Recorded:
    """One entry's bytes, and the tlog-proof text that shows it in the log."""

    entry: bytes
    proof: str

    @cached_property
    def inclusion(self) -> Proof:
        """The proof, read. Raises ProofError if the text is none."""
        return Proof.parse(self.proof)


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
        try:
            return self._written().encode()
        except UnicodeEncodeError:
            raise ReceiptError("a lone surrogate has no canonical form") from None

    def _written(self) -> str:
        # its fields in RFC 8785's order; each opened content was written once, for its commitment
        openings = ",".join(_opening_json(opening) for opening in self.openings)
        return (
            f'{{"admitted":{_recorded_json(self.admitted)},"finished":{_recorded_json(self.finished)}'
            f',"kind":"{KIND}","openings":[{openings}],"v":{VERSION}}}'
        )

    @classmethod
    def parse(cls, raw: bytes) -> Receipt:
        """Read a receipt; nothing in it is proven yet: that is the work of ``verify``.

        Raises ReceiptError unless it is canonical, complete, and free of anything unknown.
        """
        text, value = _read(raw)
        top = _fields(value, "admitted", "finished", "kind", "openings", "v")
        if top["kind"] != KIND:
            raise ReceiptError(f"its kind is not {KIND}")
        if type(top["v"]) is not int or top["v"] != VERSION:
            raise ReceiptError(f"its version is not {VERSION}")
        openings = top["openings"]
        if not isinstance(openings, list):
            raise ReceiptError("its openings are not a list")
        plain = in_plane_zero(raw)
        opened = tuple(_opening(one, plain) for one in openings)
        receipt = cls(_recorded(top["admitted"]), _recorded(top["finished"]), opened)
        if receipt.openings != opened:
            raise ReceiptError("its openings are not in order")
        # that its parts are read strictly leaves spelling: space, escapes, order, double keys
        if receipt._written() != text:
            raise ReceiptError("not canonical JSON")
        return receipt


def _read(raw: bytes) -> tuple[str, Json]:
    """The text of ``raw`` and its value, in any spelling, with every number a whole one."""
    try:
        text = raw.decode("utf-8")
        value: Json = _DECODER.decode(text)
    except ReceiptError:
        raise
    except (ValueError, RecursionError):
        raise ReceiptError("not JSON in UTF-8") from None
    return text, value


def _whole(digits: str) -> int:
    if len(digits) < 16:
        return int(digits)
    # the length first: Python refuses numbers of thousands of digits with another error
    if len(digits) > 17 or abs(value := int(digits)) > MAX_INTEGER:
        raise ReceiptError("an integer beyond 2^53 - 1 has no canonical form")
    return value


def in_plane_zero(raw: bytes) -> bool:
    """Whether every character of UTF-8 is one UTF-16 unit: then both orders of keys are the same.

    The others, above U+FFFF, begin with one of these bytes, which stand nowhere else (RFC 3629).
    """
    return raw.isascii() or not any(first in raw for first in _ABOVE_PLANE_ZERO)


def _write(value: Json, plain: bool) -> str:
    """What ``_read`` gave, as canonical JSON. ``plain``: see ``in_plane_zero``."""
    try:
        if plain:
            return _ENCODER.encode(value)
        return canonical(value).decode()
    except RecursionError:
        raise ReceiptError("the value is nested too deeply") from None


def require_canonical(value: object) -> None:
    """Raise ReceiptError for what has no canonical form, at any depth."""
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str and not isinstance(key, str):
                raise ReceiptError("a key that is not a string has no canonical form")
        within: Iterable[object] = value.values()
    elif isinstance(value, list | tuple):
        within = value
    else:
        _require_plain(value)
        return
    for one in within:
        kind = type(one)
        if kind is int:
            _require_plain(one)
        elif kind not in _PLAIN:  # most are: it spares a call for each
            require_canonical(one)


def _require_plain(value: object) -> None:
    if isinstance(value, int):  # a truth value is one too
        if abs(value) > MAX_INTEGER:
            raise ReceiptError("an integer beyond 2^53 - 1 has no canonical form")
    elif value is not None and not isinstance(value, str):
        raise ReceiptError(f"a {type(value).__name__} has no canonical form here")


_PLAIN = frozenset({str, bool, type(None)})


def _ordered(value: Any) -> Any:
    """What ``require_canonical`` let pass, with its keys in order."""
    if isinstance(value, list | tuple):
        return [_ordered(one) for one in value]
    if isinstance(value, dict):
        # RFC 8785, 3.2.3: UTF-16 order differs from code point order above U+FFFF
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _ordered(value[key]) for key in keys}
    return value


def _refuse_number(text: str) -> Json:
    raise ReceiptError("only whole numbers are written in a receipt")


_DECODER = json.JSONDecoder(
    parse_int=_whole, parse_float=_refuse_number, parse_constant=_refuse_number
)
# It sorts keys by code points, which is RFC 8785's order where no character is above U+FFFF. Only
# what _DECODER made or _check let pass goes in: no cycles, no floats, no keys but strings.
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")
)
_UNSORTED = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def _fields(value: Json, *names: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ReceiptError("an object is missing")
    if len(value) != len(names) or not all(name in value for name in names):
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


def _recorded_json(recorded: Recorded) -> str:
    entry = base64.b64encode(recorded.entry).decode()
    return f'{{"entry":"{entry}","proof":{_ENCODER.encode(recorded.proof)}}}'


def _opening_json(opening: Opening) -> str:
    nonce = base64.b64encode(opening.nonce).decode()
    return (
        f'{{"content":{opening.written},"entry":{_ENCODER.encode(opening.entry)},'
        f'"field":{_ENCODER.encode(opening.field)},"nonce":"{nonce}"}}'
    )


def _recorded(value: Json) -> Recorded:
    found = _fields(value, "entry", "proof")
    recorded = Recorded(_bytes(found["entry"]), _text(found["proof"]))
    try:
        proof = recorded.inclusion
    except ProofError as error:
        raise ReceiptError(f"an inclusion proof: {error}") from None
    if proof.extra is not None:
        raise ReceiptError("an inclusion proof carries extra data that nothing authenticates")
    return recorded


def _opening(value: Json, plain: bool) -> Opening:
    found = _fields(value, "content", "entry", "field", "nonce")
    content = found["content"]
    return Opening(
        _text(found["entry"]),
        _text(found["field"]),
        _bytes(found["nonce"]),
        content,
        _write(content, plain),
    )
