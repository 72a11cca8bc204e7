"""Acts around questions: ask, search, explain, replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.cli.acts import Item, act
from casemate.reasoning.event import Finished, Request

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("ask")
async def ask(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the events of a run, then its receipt."""
    request = Request(
        question=arguments["question"],
        label=arguments.get("label"),
        collections=tuple(arguments.get("collections", ())),
        use_case=arguments.get("use_case"),
        model=arguments.get("model"),
        seed=arguments.get("seed"),
    )
    async with aclosing(installation.ask(caller, request)) as events:
        async for event in events:
            yield msgspec.to_builtins(event)
            if isinstance(event, Finished):
                receipt = await asyncio.to_thread(installation.runs.receipt, caller, event.run)
                yield {
                    "type": "receipt",
                    "receipt": receipt.decode(),
                    "vkey": installation.log.vkey,
                }


@act("search")
async def search(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the passages found."""
    hits = await asyncio.to_thread(
        installation.library.search,
        caller,
        arguments["query"],
        collections=tuple(arguments.get("collections", ())),
        use_case=arguments.get("use_case"),
        limit=arguments.get("limit", 10),
    )
    for hit in hits:
        passage = hit.passage
        yield {
            "document": passage.document_name,
            "document_id": passage.document,
            "collection": passage.collection,
            "page": passage.page,
            "start": passage.start,
            "end": passage.end,
            "heading": passage.heading,
            "label": str(passage.label),
            "score": round(hit.score, 3),
            "why": list(hit.why),
            "text": passage.text,
        }


@act("explain")
async def explain(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the explanation of a run."""
    yield msgspec.to_builtins(await installation.explain(caller, arguments["run"]))


@act("replay")
async def replay(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield what running a run again gave."""
    yield msgspec.to_builtins(await installation.replay(caller, arguments["run"]))


@act("run.list")
async def run_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the caller's runs, newest first."""
    for run in installation.runs.list(caller, limit=arguments.get("limit", 50)):
        yield msgspec.to_builtins(run)


@act("run.show")
async def run_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield one run."""
    yield msgspec.to_builtins(installation.runs.get(caller, arguments["run"]))


@act("run.receipt")
async def run_receipt(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the receipt of a run."""
    yield {"receipt": installation.runs.receipt(caller, arguments["run"]).decode()}


@act("run.review")
async def run_review(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Record a person's decision on a run."""
    yield msgspec.to_builtins(
        installation.reviews.decide(
            caller, arguments["run"], arguments["decision"], arguments["reason"]
        )
    )
