"""``/_design``: every component in its states, with invented words. Holds nothing of anybody's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from casemate.errors import Refused, Unavailable
from casemate.reasoning.event import Answer, Citation, Sentence, Source, Step
from casemate.web import errors
from casemate.web.answer import LaidOut, laid_out
from casemate.web.front import Front, Reader
from casemate.web.words import Words

_TEXT = (
    "The fee for a certified copy is 3 euros per document, whatever the number of pages. "
    "Copies for school or study are free of charge. Requests by post are answered within ten "
    "working days; the applicant encloses a stamped envelope."
)
_QUOTES = (
    "The fee for a certified copy is 3 euros per document",
    "Copies for school or study are free of charge.",
)


def routes(front: Front) -> list[BaseRoute]:
    """``/_design``."""

    async def show(request: Request, reader: Reader) -> Response:
        return reader.page(
            "design.html",
            answer=_answer(front, reader.words),
            refused=errors.told(
                Refused("Use case “tenders” is not approved.", "Ask its owner to approve it."),
                reader.words,
            ),
            unavailable=errors.told(
                Unavailable("The engine does not answer.", "Try again in a minute."), reader.words
            ),
            holds={
                "holds": True,
                "proven": [
                    reader.words("verdict.answer"),
                    reader.words("verdict.passages", count=1, documents="fees.pdf"),
                ],
                "not_proven": [reader.words("verdict.not_right")],
                "exact": ["this answer, word for word"],
            },
            fails={"holds": False, "part": "answer", "reason": "the file differs from the answer"},
            markings=_markings(front, reader.words.language),
        )

    return [Route("/_design", front.everyone(show), methods=["GET"])]


def _markings(front: Front, language: str) -> list[str]:
    policy = front.house.gate.country.policy
    return [policy.parse(level.id).marking(language) for level in policy.levels[:3]]


def _answer(front: Front, words: Words) -> LaidOut:
    label = str(front.house.gate.country.policy.lowest())
    source = Source(
        document_id="specimen",
        document="fees.pdf",
        digest="sha256:" + "0" * 64,
        collection="fees",
        page=2,
        start=0,
        end=len(_TEXT),
        title="Scale of fees",
        heading="Fees › Copies",
        label=label,
        text=_TEXT,
    )
    citations, text, sentences = [], "", []
    for index, words_cited in enumerate(_QUOTES):
        at = _TEXT.index(words_cited)
        citations.append(
            Citation(number=1, source=0, start=at, end=at + len(words_cited), quote=words_cited)
        )
        start = len(text)
        text += f"{' ' if index else ''}{words_cited.rstrip('.')}. [1]"
        sentences.append(Sentence(start=start, end=len(text), citations=(index,)))
    return laid_out(
        Answer(
            text=text,
            language="en",
            sentences=tuple(sentences),
            citations=tuple(citations),
            sources=(source,),
        ),
        (
            Step(kind="search", subject="certified copy", found=("fees.pdf, page 2",), count=4),
            Step(kind="quote", count=2),
            Step(kind="verify", count=2),
        ),
        front,
        words,
        run="specimen",
        outcome="answered",
        label=label,
        entry=1204,
    )
