"""The verdict on a receipt that holds: what is proven and what is not, in plain words.

Everything here was checked before; this file only says it. Standard library, ``pair`` and
``quotation`` only: part of the verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from casemate.ledger.pair import is_digest
from casemate.ledger.quotation import Quotations

_LAST_SECOND = 253_402_300_799  # of the year 9999: what a calendar can say


@dataclass(frozen=True)
class Verdict:
    """What a receipt proves and what it cannot, in plain words, and the facts behind them."""

    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """Who saw this history: the witnesses that were named, and when those who cosigned did.

    times: POSIX seconds by name. unknown: how many signatures of other keys stand there too.
    """

    named: tuple[str, ...]
    times: Mapping[str, int]
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A receipt that was checked. ``contents``: what it opens, by entry and field."""

    origin: str
    admitted: Mapping[str, Any]
    finished: Mapping[str, Any]
    admitted_index: int
    finished_index: int
    contents: Mapping[tuple[str, str], Any]
    answer: str | None
    compared: bool
    quotations: Quotations | None
    seen: Seen


def told(opened: Opened) -> Verdict:
    """What has been found right, in words."""
    return Verdict(tuple(_proven(opened)), tuple(_not_proven(opened)), _facts(opened))


def plain(text: str) -> str:
    """Text without characters that would steer a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def moment(seconds: int) -> str:
    """POSIX seconds as UTC, or as their number where no calendar reaches."""
    if seconds > _LAST_SECOND:
        return f"second {seconds:,} since 1970"
    # not strftime: its %Y has no leading zeros on every platform, and isoformat has
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _proven(opened: Opened) -> list[str]:
    finished, seen = opened.finished, opened.seen
    proven: list[str] = []
    if opened.answer is not None:
        proven.append(
            "this answer, word for word" + (", as in the file" if opened.compared else "")
        )
    if opened.quotations is not None:
        proven += _quoted(opened.quotations)
    if ("admitted", "question") in opened.contents or ("finished", "question") in opened.contents:
        proven.append("to this question, word for word")
    model, policy = finished["model"], finished["policy"]
    deciding = ", ".join(plain(one) for one in policy["deciding"])
    by = _counted(len(policy["deciding"]), f" by policy {deciding}", f" by policies {deciding}")
    number, origin = f"{opened.finished_index:,}", plain(opened.origin)
    proven += [
        f"under use case {plain(finished['use_case'])}, at label {plain(finished['label'])}",
        f"with model {plain(model['id'])}, whose manifest has the digest {model['digest']}",
        f"allowed{by if deciding else ''}, of the policies with the digest {policy['digest']}",
        f"with the outcome {plain(finished['outcome'])}",
        f"admitted earlier, as entry {opened.admitted_index:,}, at {opened.admitted['time']}",
        f"recorded as entry {number} of log {origin} at {finished['time']}",
    ]
    if "witnesses" in finished:
        asked = finished["witnesses"]
        without = "gave receipts" if asked["failing"] == "open" else "gave no receipt"
        proven.append(
            f"this installation then asked for {asked['needed']} of {asked['of']} witnesses, "
            f"and {without} without them"
        )
    proven += [
        f"witness {plain(name)} cosigned this history at {moment(time)}"
        for name, time in seen.times.items()
    ]
    return proven


def _quoted(found: Quotations) -> list[str]:
    if not found.count:
        return ["without any quotation"]
    passages = _counted(len(found.passages), "this passage", "these {} passages")
    documents = _counted(len(found.documents), "this document", "these {} documents")
    named = ", ".join(plain(name) for name in found.documents)
    quotations = _counted(found.count, "its quotation", "each of its {} quotations")
    files = [f"{plain(name)} was the file with the digest {is_}" for name, is_ in found.files]
    return [
        f"from {passages} of {documents}: {named}",
        *files,
        f"{quotations} verbatim at its place",
    ]


def _not_proven(opened: Opened) -> list[str]:
    entries, seen = {"admitted": opened.admitted, "finished": opened.finished}, opened.seen
    known = {entries[name][field] for name, field in opened.contents}
    closed = [
        f"what the {name} entry committed to as {plain(field)}: the receipt does not open it"
        for name, entry in entries.items()
        for field, value in sorted(entry.items())
        if is_digest(value) and value not in known
    ]
    if seen.times:
        same = [
            f"that witness {plain(name)} saw this history: it did not cosign it"
            for name in seen.named
            if name not in seen.times
        ]
    else:
        same = [
            "that the log shows everyone the same history: "
            "no witness cosigned that this check knows"
        ]
    if seen.unknown:
        same.append(
            _counted(
                seen.unknown,
                "what 1 other signature on the checkpoint says: its key was not given",
                "what {} other signatures on the checkpoint say: their keys were not given",
            )
        )
    return [
        *closed,
        "that the documents are right, or that the answer is",
        "that the times are right: they are the log's own clock",
        *same,
    ]


def _facts(opened: Opened) -> dict[str, Any]:
    admitted, finished, seen = opened.admitted, opened.finished, opened.seen
    facts: dict[str, Any] = {
        "origin": opened.origin,
        "run": finished["run"],
        "use_case": finished["use_case"],
        "label": finished["label"],
        "outcome": finished["outcome"],
        "model": dict(finished["model"]),
        "policy": dict(finished["policy"]),
        "admitted": {"index": opened.admitted_index, "time": admitted["time"]},
        "finished": {"index": opened.finished_index, "time": finished["time"]},
        "opened": sorted(".".join(place) for place in opened.contents),
        "answer_compared": opened.compared,
        "witnesses": {
            "named": list(seen.named),
            "cosigned": [{"name": name, "time": moment(at)} for name, at in seen.times.items()],
            "unknown": seen.unknown,
        },
    }
    if "witnesses" in finished:
        facts["witness_policy"] = dict(finished["witnesses"])
    if opened.answer is not None:
        facts["answer"] = opened.answer
    if opened.quotations is not None:
        facts |= {
            "citations": opened.quotations.count,
            "passages": len(opened.quotations.passages),
            "documents": list(opened.quotations.documents),
            "files": [{"document": name, "digest": is_} for name, is_ in opened.quotations.files],
        }
    question = opened.contents.get(("admitted", "question"))
    if isinstance(question, dict) and isinstance(question.get("text"), str):
        facts["question"] = question["text"]
    return facts


def _counted(count: int, one: str, many: str) -> str:
    return one if count == 1 else many.replace("{}", f"{count:,}")
