"""Exporting the ledger: its entries as lines, for archives and for those who watch.

``jsonl``: each entry with its exact bytes, from which its place in the tree can be proven.
``ocsf`` and ``cef``: for a SIEM, one event a line. Every line holds the entry's index, so that an
export can go on where an earlier one ended.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import msgspec

from casemate.errors import Invalid
from casemate.ledger import cef, ocsf
from casemate.ledger.search import Entries, Found, Period, Query, search

_PIECE = 1 << 20  # characters that are handed on at once


def export(
    log: Entries,
    origin: str,
    format: str,
    period: Period,
    *,
    start: int = 0,
    thorough: bool = False,
) -> Iterator[str]:
    """Lines of the entries from index ``start`` on that lie in ``period``, in pieces of many.

    A piece may be empty, so that whoever waits can stop in between. Raises Invalid for a format
    that is not one of ``FORMATS``; and what ``search`` raises.
    """
    if format not in FORMATS:
        raise Invalid(f"There is no export format “{format[:40]}”.", f"Choose {_CHOICE}.")
    write = FORMATS[format]
    for block in search(log, Query(), period, start=start, thorough=thorough):
        piece, length = [], 0
        for found in block:
            piece.append(write(found, origin) + "\n")
            length += len(piece[-1])
            if length > _PIECE:
                yield "".join(piece)
                piece, length = [], 0
        yield "".join(piece)


def _exact(found: Found, origin: str) -> str:
    return _json(
        {
            "index": found.index,
            "entry": found.entry,
            "bytes": base64.b64encode(found.raw).decode(),
        }
    )


def _ocsf(found: Found, origin: str) -> str:
    return _json(ocsf.event(found, origin))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


FORMATS = {"jsonl": _exact, "ocsf": _ocsf, "cef": cef.line}
_CHOICE = "jsonl, ocsf or cef"
