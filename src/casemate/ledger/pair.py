"""The two entries of a run: that each is whole, and that they belong to one another.

Standard library, ``receipt`` and ``merkle`` only: part of the verifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from casemate.ledger.merkle import leaf_hash
from casemate.ledger.receipt import VERSION, ReceiptError, parse_canonical

OUTCOMES = ("answered", "unanswered", "failed", "refused")
FAILING = ("open", "closed")
MOST_WITNESSES = 100  # as many as a signed note may carry signatures
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")
_HEAD = ("time", "run", "tenant", "principal", "use_case", "label")
_SAME = ("run", "tenant", "principal", "use_case")


class PairError(ValueError):
    """An entry is not one of a run, or two entries are not of one run."""


def is_digest(value: object) -> bool:
    """Whether ``value`` is ``sha256:`` and 64 lower-case hexadecimal digits."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def parse_entry(name: str, raw: bytes) -> Mapping[str, Any]:
    """The entry that ``raw`` is; ``name``: "admitted" or "finished".

    Raises PairError unless it is canonical and has all that an entry of this kind has.
    """
    try:
        entry = parse_canonical(raw)
    except ReceiptError as error:
        raise PairError(f"the {name} entry is {error}") from None
    if not isinstance(entry, dict):
        raise PairError(f"the {name} entry is no object")
    if type(entry.get("v")) is not int or entry["v"] != VERSION:
        raise PairError(f"the version of the {name} entry is not {VERSION}")
    if entry.get("kind") != f"run.{name}":
        raise PairError(f"the {name} entry is of another kind")
    for field in _HEAD:
        if not isinstance(entry.get(field), str):
            raise PairError(f"the {name} entry has no {field}")
    if not _TIME.fullmatch(str(entry["time"])):
        raise PairError(f"the time of the {name} entry is not written as UTC")
    if not _is_model(entry.get("model")):
        raise PairError(f"the {name} entry does not name its model as it should")
    if not _is_policy(entry.get("policy")):
        raise PairError(f"the {name} entry does not name its policy decision as it should")
    if "witnesses" in entry and not _is_witnessing(entry["witnesses"]):
        raise PairError(f"the {name} entry does not name its witnesses as it should")
    return entry


def check_pair(
    admitted: Mapping[str, Any], finished: Mapping[str, Any], *, index: int, raw: bytes
) -> None:
    """Check that two parsed entries are one run.

    index, raw: place and bytes of the admitted entry. Raises PairError if they are not.
    """
    for field in _SAME:
        if admitted[field] != finished[field]:
            raise PairError(f"the two entries differ in {field}")
    if finished.get("outcome") not in OUTCOMES:
        raise PairError("the finished entry has no known outcome")
    expected = {"index": index, "leaf": f"sha256:{leaf_hash(raw).hex()}"}
    found = finished.get("admitted")
    # exact types: True would pass for the integer 1
    if found != expected or type(found["index"]) is not int:
        raise PairError("the finished entry belongs to another admitted entry")


def _is_model(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"id", "digest"}
        and isinstance(value["id"], str)
        and is_digest(value["digest"])
    )


def _is_policy(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"decision", "deciding", "digest"}
        and value["decision"] == "allow"
        and isinstance(value["deciding"], list)
        and all(isinstance(one, str) for one in value["deciding"])
        and is_digest(value["digest"])
    )


def _is_witnessing(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"of", "needed", "failing"}
        and type(value["of"]) is int
        and type(value["needed"]) is int
        and 0 <= value["needed"] <= value["of"] <= MOST_WITNESSES
        and value["failing"] in FAILING
    )
