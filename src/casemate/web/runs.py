"""Runs: what one has asked, what came of it, and the proof, checked here or anywhere else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from casemate.errors import NotFound
from casemate.ledger.verify import Unproven, Verdict, verify
from casemate.web.answer import LaidOut, laid_out
from casemate.web.front import Front, Reader
from casemate.web.page import part
from casemate.web.words import Words

if TYPE_CHECKING:
    from casemate.reasoning.record import Run

_PAGE = 50


def routes(front: Front) -> list[BaseRoute]:
    """``/runs`` and what hangs below one run."""
    desk = _Desk(front)
    return [
        Route("/runs", front.member(desk.register), methods=["GET"]),
        Route("/runs/{id}", front.member(desk.one), methods=["GET"]),
        Route("/runs/{id}/check", front.member(desk.check), methods=["POST"]),
        Route("/runs/{id}/check", front.member(desk.back), methods=["GET"]),
        Route("/runs/{id}/explanation", front.member(desk.explanation), methods=["GET"]),
        Route("/runs/{id}/receipt", front.member(desk.receipt), methods=["GET"]),
        Route("/runs/{id}/answer.txt", front.member(desk.text), methods=["GET"]),
    ]


class _Desk:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._house = front.house

    async def register(self, request: Request, reader: Reader) -> Response:
        before = request.query_params.get("before") or None
        found = await asyncio.to_thread(
            self._house.runs.list, reader.known, limit=_PAGE + 1, before=before
        )
        return reader.page(
            "runs.html",
            runs=[
                (run, self._front.marking(run.label, reader.words.language))
                for run in found[:_PAGE]
            ],
            before=before,
            more=found[_PAGE - 1].id if len(found) > _PAGE else None,
        )

    async def one(self, request: Request, reader: Reader) -> Response:
        return await self._page(await self._run(request, reader), reader)

    async def back(self, request: Request, reader: Reader) -> Response:
        return RedirectResponse(f"/runs/{request.path_params['id']}", 303)

    async def check(self, request: Request, reader: Reader) -> Response:
        run = await self._run(request, reader)
        receipt = await asyncio.to_thread(self._house.runs.receipt, reader.known, run.id)
        answer = run.answer.text.encode() if run.answer else None
        verdict = await asyncio.to_thread(_judge, receipt, self._house.ledger.vkey, answer)
        if "part" in request.query_params:  # the script asks for the verdict alone
            told = {"verdict": told_verdict(verdict, self._front, reader.words)}
            return HTMLResponse(part("verdict.html", reader.words, **told))
        return await self._page(run, reader, verdict)

    async def explanation(self, request: Request, reader: Reader) -> Response:
        run = await self._run(request, reader)
        found = await self._house.explain(reader.known, run.id)
        return reader.page(
            "explanation.html",
            run=run,
            found=found,
            marking=self._front.marking(run.label, reader.words.language),
        )

    async def receipt(self, request: Request, reader: Reader) -> Response:
        id = request.path_params["id"]
        content = await asyncio.to_thread(self._house.runs.receipt, reader.known, id)
        return download(content, f"receipt-{id}.json", "application/json")

    async def text(self, request: Request, reader: Reader) -> Response:
        run = await self._run(request, reader)
        if run.answer is None:
            raise NotFound("This run has no answer.", "Open the run to see what happened.")
        content = run.answer.text.encode()
        return download(content, f"answer-{run.id}.txt", "text/plain; charset=utf-8")

    async def _run(self, request: Request, reader: Reader) -> Run:
        id = request.path_params["id"]
        return await asyncio.to_thread(self._house.runs.get, reader.known, id)

    async def _page(
        self, run: Run, reader: Reader, verdict: Verdict | Unproven | None = None
    ) -> Response:
        answer = self._laid_out(run, reader.words)
        return reader.page(
            "run.html",
            run=run,
            marking=self._front.marking(run.label, reader.words.language),
            answer=answer,
            verdict=told_verdict(verdict, self._front, reader.words) if verdict else None,
        )

    def _laid_out(self, run: Run, words: Words) -> LaidOut | None:
        if run.answer is None:
            return None
        return laid_out(
            run.answer,
            run.steps,
            self._front,
            words,
            run=run.id,
            outcome=run.outcome or "",
            label=run.label,
            entry=run.finished_entry,
        )


def download(content: bytes, name: str, media_type: str) -> Response:
    """Bytes that the browser saves and never shows."""
    return Response(
        content,
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def told_verdict(verdict: Verdict | Unproven, front: Front, words: Words) -> dict[str, Any]:
    """A verdict in the reader's words: ``holds``, what is ``proven``, what is not."""
    if isinstance(verdict, Unproven):
        return {"holds": False, "part": verdict.part, "reason": verdict.reason}
    facts = verdict.facts
    proven = []
    if "answer" in facts:
        proven.append(words("verdict.answer"))
    if facts.get("citations"):
        names = ", ".join(facts["documents"])
        proven.append(words("verdict.passages", count=facts["passages"], documents=names))
    if any(name.endswith(".question") for name in facts["opened"]):
        proven.append(words("verdict.question"))
    label = front.marking(facts["label"], words.language)
    proven += [
        words("verdict.use_case", use_case=facts["use_case"], label=label),
        words(
            "verdict.admitted",
            entry=facts["admitted"]["index"],
            time=words.moment(facts["admitted"]["time"]),
        ),
        words(
            "verdict.finished",
            entry=facts["finished"]["index"],
            origin=facts["origin"],
            time=words.moment(facts["finished"]["time"]),
        ),
    ]
    return {
        "holds": True,
        "proven": proven,
        "not_proven": [
            words("verdict.not_right"),
            words("verdict.not_time"),
            words("verdict.not_same"),
        ],
        "exact": [*verdict.proven, *verdict.not_proven],
    }


def _judge(receipt: bytes, vkey: str, answer: bytes | None) -> Verdict | Unproven:
    try:
        return verify(receipt, vkey, answer)
    except Unproven as failure:
        return failure
