"""Acts on the ledger: what an auditor does, and the export for those who watch."""

from __future__ import annotations

import asyncio
import base64
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from casemate.cli.acts import Item, act
from casemate.errors import CasemateError, Invalid
from casemate.ledger import consistency, export
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.note import Verifier
from casemate.ledger.search import Period, Query, decode, search

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation
    from casemate.oversight.rotation import SigningKeys

T = TypeVar("T")
_PSEUDONYM = re.compile(r"p[a-z2-7]{16}|installation")


@act("ledger.key")
async def ledger_key(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the verifying keys."""
    yield _keys(installation.rotation.keys())


@act("ledger.rotate")
async def ledger_rotate(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Take a step of the change of the ledger's key: begin, finish or cancel; the keys then."""
    rotation = installation.rotation
    steps = {"begin": rotation.begin, "finish": rotation.finish, "cancel": rotation.cancel}
    if arguments["step"] not in steps:
        raise Invalid("There is no such step.", "Begin, finish or cancel.")
    yield _keys(await asyncio.to_thread(steps[arguments["step"]], caller))


@act("ledger.checkpoint")
async def ledger_checkpoint(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the signed checkpoint, which is open to all."""
    yield {"checkpoint": installation.log.checkpoint().decode()}


@act("ledger.check")
async def ledger_check(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Re-hash the whole log; last, what was found, and before it, if wanted, how far it is."""
    installation.gate.require(caller, "audit")
    async for step in _watched(installation.log.check):
        if isinstance(step, int):
            yield {"entries": step, "origin": _origin(installation)}
        elif arguments.get("progress"):
            yield {"done": step[0], "total": step[1]}


@act("ledger.show")
async def ledger_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield one entry: what it says, its bytes, its leaf hash and, if wanted, its proof."""
    installation.gate.require(caller, "audit")
    index = arguments["index"]
    raw = installation.log.entry(index)
    found: dict[str, Any] = {
        "index": index,
        "leaf": f"sha256:{leaf_hash(raw).hex()}",
        "bytes": base64.b64encode(raw).decode(),
    }
    if not arguments.get("raw"):  # the bytes of an entry that is no JSON can still be looked at
        found["entry"] = decode(index, raw).entry
    if arguments.get("proof"):
        found["proof"] = installation.log.proof(index)
    yield found


@act("ledger.search")
async def ledger_search(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the entries that say what is asked, oldest first."""
    installation.gate.require(caller, "audit")
    fields = dict(arguments["fields"])
    if fields.get("principal") is not None:
        fields["principal"] = _pseudonym(installation, caller, fields["principal"])
    if fields.get("label") is not None:
        fields["label"] = str(installation.gate.country.policy.parse(fields["label"]))
    found = search(
        installation.log,
        Query(**fields),
        Period.parse(arguments.get("since"), arguments.get("until")),
        limit=arguments.get("limit"),
        thorough=bool(arguments.get("thorough")),
    )
    async for block in _in_a_thread(found):
        for one in block:
            yield {"index": one.index, "entry": one.entry}


@act("ledger.export")
async def ledger_export(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield lines, many at a time."""
    installation.gate.require(caller, "audit")
    lines = export.export(
        installation.log,
        _origin(installation),
        arguments.get("format", "jsonl"),
        Period.parse(arguments.get("since"), arguments.get("until")),
        start=arguments.get("from_index", 0),
        thorough=bool(arguments.get("thorough")),
    )
    async for piece in _in_a_thread(lines):
        if piece:
            yield {"lines": piece}


@act("ledger.consistency")
async def ledger_consistency(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the hashes between two sizes, or how two signed checkpoints stand to this log."""
    installation.gate.require(caller, "audit")
    log = installation.log
    if "sizes" in arguments:
        hashes = await asyncio.to_thread(log.consistency, *arguments["sizes"])
        yield {"proof": consistency.format_proof(hashes)}
        return
    verifiers = [Verifier.parse(one) for one in arguments["vkeys"]]
    if not set(arguments["vkeys"]) & set(log.vkeys):
        raise Invalid(
            "The checkpoints are of another log than this data folder holds.",
            "Name its copy with --from, or a proof with --proof.",
        )
    old, new = (
        consistency.open_checkpoint(one["name"], one["note"].encode(), *verifiers)
        for one in (arguments["old"], arguments["new"])
    )
    copy = consistency.Copy(log.resource, *verifiers)
    try:
        proof = await asyncio.to_thread(consistency.compare_with_copy, old, new, copy)
    except consistency.TwoHistories as problem:  # what was found, and no failure of this act
        yield {"two_histories": problem.what, "next": problem.next}
    else:
        yield {"hashes": len(proof)}


def _keys(keys: SigningKeys) -> Item:
    return {"vkey": keys.vkey, "next": keys.next, "retired": list(keys.retired)}


def _origin(installation: Installation) -> str:
    return installation.log.origin


def _pseudonym(installation: Installation, caller: Caller, who: str) -> str:
    """The pseudonym itself, or that of a name: for oneself, and for who administers people."""
    if _PSEUDONYM.fullmatch(who):
        return who
    if who == caller.principal.name:
        return caller.principal.pseudonym
    installation.gate.rights.administer(caller)
    return installation.gate.principals.colleague(caller, who).pseudonym


async def _in_a_thread(pieces: Iterator[T]) -> AsyncIterator[T]:
    """Each piece, made where it does not hold up a server's event loop."""
    end = object()
    while True:
        piece: Any = await asyncio.to_thread(next, pieces, end)
        if piece is end:
            return
        yield piece


class _Left(CasemateError):
    """Nobody waits any more."""


async def _watched(
    work: Callable[[Callable[[int, int], None]], int],
) -> AsyncIterator[tuple[int, int] | int]:
    """How far ``work`` is, a hundred times at most, and last what it gives."""
    loop = asyncio.get_running_loop()
    steps: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
    left = threading.Event()
    told = -1

    def progress(done: int, total: int) -> None:
        nonlocal told
        if left.is_set():
            raise _Left("Nobody waits any more.")
        percent = done * 100 // total if total else 100
        if percent > told:
            told = percent
            loop.call_soon_threadsafe(steps.put_nowait, (done, total))

    working = asyncio.create_task(asyncio.to_thread(work, progress))
    working.add_done_callback(lambda _: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            yield step
        yield await working
    finally:
        left.set()
        await asyncio.gather(working, return_exceptions=True)
