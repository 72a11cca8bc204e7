"""An installation in memory: what the faces see of one, with answers that are known."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import msgspec
from starlette.applications import Starlette

from casemate import api
from casemate.counts import Counts
from casemate.engines.turns import Turns
from casemate.errors import Conflict, NotFound, Refused, TooLarge, TooMany, Unauthenticated
from casemate.gate.budget import Use
from casemate.gate.caller import Strength
from casemate.gate.memory import Memory
from casemate.reasoning.event import (
    Admitted,
    Answer,
    Citation,
    Cited,
    Finished,
    Sentence,
    Source,
    Step,
    StepFinished,
    StepStarted,
    Text,
    Thinking,
)
from casemate.settings import Settings
from casemate.spread import Spread

KEY = "cm_alice_secret"
AUDITOR_KEY = "cm_audit_secret"
BOUND_KEY = "cm_bound_secret"  # only for the use case "letters"
SESSION = "session-of-alice"
FULL_TILE = "tile/0/000"
PARTIAL_TILE = "tile/0/001.p/3"
VKEY = "casemate.example+1a2b3c4d+AQID"
QUOTE = "The fee is 20 euros."
TEXT = f"“{QUOTE}” [1] It falls due in May. [2]"


@dataclass(frozen=True)
class FakeDocument:
    id: str
    name: str
    collection: str
    label: str
    title: str | None
    media_type: str
    digest: str
    size: int
    characters: int
    pages: tuple[tuple[int, int], ...]
    headings: tuple[tuple[int, int, int], ...]
    added: str


class Explanation(msgspec.Struct):
    sentences: list[str]


async def counted_nowhere() -> Counts:
    return Counts()


@dataclass
class FakeInstallation:
    """``script`` replaces the events of a run; an exception in it is raised at its place."""

    settings: Settings = field(default_factory=Settings)
    script: list[object] | None = None
    asked: list[object] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None  # a run waits for this after its first event
    began: asyncio.Event | None = None  # is set when it does
    broken: bool = False  # the database does not answer

    def __post_init__(self) -> None:
        self.gate = FakeGate()
        self.library = FakeLibrary(self)
        self.runs = FakeRuns()
        self.models = SimpleNamespace(list=self._models)
        log = SimpleNamespace(
            size=7,
            checkpoint=lambda: b"casemate.example\n7\nroot\n\n\xe2\x80\x94 sig\n",
            resource={FULL_TILE: b"h" * 8192, PARTIAL_TILE: b"h" * 96}.get,
        )
        self.ledger = SimpleNamespace(vkey=VKEY, vkeys=(VKEY,), log=log, times=Spread())
        self.engines = SimpleNamespace(queues=list, replicas=list)
        self.searches = Turns(1, 1, lambda: 0.0)
        self.used: dict[tuple[str, str], Use] = {}
        self.counted_elsewhere = counted_nowhere
        self.witnessing = None
        self.folder = SimpleNamespace(path=Path())
        self.gate.budgets = SimpleNamespace(refused=Counter())

    def _models(self, caller) -> list[object]:
        manifest = SimpleNamespace(engine="quote")
        return [SimpleNamespace(id="quote", manifest=manifest, label="U", state="approved")]

    async def explain(self, caller, run):
        self.runs.get(caller, run)
        return Explanation(["depends on 1"])

    async def tell(self, caller, request, tell, priority=None, admitted=lambda: None):
        async with aclosing(self.ask(caller, request, priority)) as events:
            async for event in events:
                await tell((event,))

    async def ask(self, caller, request, priority=None):
        self.asked.append(request)
        try:
            for number, event in enumerate(self.script or a_run(request)):
                if number == 1 and self.hold is not None:
                    self.began.set()
                    await self.hold.wait()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed.append(caller.principal.name)


class FakeGate:
    def __init__(self) -> None:
        self.country = SimpleNamespace(languages=("lb", "fr", "de", "en"))
        self.sessions = SimpleNamespace(caller=self._session)
        self.use_cases = SimpleNamespace(list=self._use_cases)
        self.memory = Memory(count().__next__)  # remembers nothing
        self.policies = None

    def caller_from_authorization(self, header):
        known = {
            f"Bearer {KEY}": a_caller("alice"),
            f"Bearer {AUDITOR_KEY}": a_caller("audrey", roles={"auditor"}),
            f"Bearer {BOUND_KEY}": a_caller("bot", use_case="letters"),
        }
        if header not in known:
            raise Unauthenticated("No valid key was given.", "Send Authorization: Bearer cm_….")
        return known[header]

    def require(self, caller, action):
        if "auditor" not in caller.principal.roles or caller.use_case is not None:
            raise Refused(f"You may not {action}.", "Ask an administrator.")

    def _session(self, token):
        if token != SESSION:
            raise Unauthenticated("You are not signed in.", "Sign in again.")
        return a_caller("alice", via="session")

    def _use_cases(self, caller):
        return [
            a_use_case("documents", models=("quote",)),
            a_use_case("letters", models=("quote", "org/large"), collections=("c9", "c1")),
            a_use_case("planned", state="draft"),
        ]


class FakeLibrary:
    def __init__(self, installation: FakeInstallation) -> None:
        self.installation = installation
        self.held = {"d1": (a_document("d1", "fees.pdf"), b"%PDF-", "The fee is 20 euros.")}

    def count(self):
        if self.installation.broken:
            raise OSError("the disk says: secret prompt")
        return len(self.held)

    def collections(self, caller):
        return [SimpleNamespace(id="c1", name="town", label="U")]

    def create_collection(self, caller, name, *, label=None):
        if name == "town":
            raise Conflict("The name is not free.", "Choose another.")
        return SimpleNamespace(id="c2", name=name, label=label or "U")

    def documents(self, caller, collection=None):
        if collection not in (None, "town"):
            raise NotFound("There is no such collection that you may read.", "List yours.")
        return [document for document, _, _ in self.held.values()]

    def document(self, caller, id):
        return self._held(id)[0]

    def original(self, caller, id):
        return self._held(id)[1]

    def text(self, caller, id):
        return self._held(id)[2]

    def add(self, caller, collection, name, content):
        if name == "secret.pdf":
            raise Refused("You may not add here.", "Ask the owner.")
        id = f"d{len(self.held) + 1}"
        self.held[id] = (a_document(id, name), content, "")
        return SimpleNamespace(outcome="added", document=id)

    def delete(self, caller, id):
        self._held(id)
        del self.held[id]

    def search(self, caller, query, *, collections=(), use_case=None, limit=10):
        passage = SimpleNamespace(
            document="d1",
            document_name="fees.pdf",
            collection=(collections or ("town",))[0],
            page=2,
            start=0,
            end=20,
            heading="Fees",
            label="U",
            text=QUOTE,
        )
        return [SimpleNamespace(passage=passage, score=3.5, why=("fee",))][:limit]

    def _held(self, id):
        if id not in self.held:
            raise NotFound("There is no such document that you may read.", "List yours.")
        return self.held[id]


class FakeRuns:
    def list(self, caller, *, limit=50, before=None):
        return [] if before else [a_kept_run()][:limit]

    def get(self, caller, id):
        self._known(id)
        return a_kept_run()

    def receipt(self, caller, id):
        self._known(id)
        return b'{"v":1}'

    def _known(self, id):
        if id != "r1":
            raise NotFound("There is no such run that you may see.", "List yours.")


def an_application(installation: FakeInstallation) -> api.Surroundings:
    """The face over ``installation``, with everything that surrounds it."""
    return api.Surroundings(Starlette(routes=api.routes(installation)), installation)


def held() -> FakeInstallation:
    """An installation whose runs stop after their first event."""
    return FakeInstallation(hold=asyncio.Event(), began=asyncio.Event())


def a_caller(name, *, roles=("user",), use_case=None, via="key"):
    principal = SimpleNamespace(
        id=f"u-{name}",
        tenant="home",
        name=name,
        kind="person",
        roles=frozenset(roles),
        clearance="U",
    )
    strength = Strength(via)
    given = {"use_case": use_case, "via": via, "assurance": None, "strength": strength}
    return SimpleNamespace(principal=principal, **given)


def a_use_case(id, *, models=("quote",), collections=None, state="approved"):
    return SimpleNamespace(
        id=id,
        purpose="Questions about documents",
        state=state,
        models=models,
        collections=collections,
        ceiling="U",
        oversight="none",
        hours=None,
    )


def a_document(id, name):
    return FakeDocument(
        id, name, "town", "U", None, "application/pdf", "sha256:00", 5, 20, ((0, 20),), (), "2026"
    )


def a_source(document="d1", name="fees.pdf", page=2):
    return Source(
        title="",
        document_id=document,
        document=name,
        digest="sha256:00",
        collection="town",
        page=page,
        start=100,
        end=140,
        heading="Fees",
        label="U",
        text=QUOTE + " It falls due in May.",
    )


def an_answer(thinking=""):
    first, second = TEXT.index(" [1]"), TEXT.index(" [2]")
    return Answer(
        text=TEXT,
        language="en",
        sentences=(
            Sentence(start=0, end=first, citations=(0,)),
            Sentence(start=first + 5, end=second, citations=(1,)),
        ),
        citations=(
            Citation(number=1, source=0, start=100, end=120, quote=QUOTE),
            Citation(number=2, source=1, start=121, end=141, quote="It falls due in May."),
        ),
        sources=(a_source(), a_source("d2", "dues.md", None)),
        thinking=thinking,
    )


def a_run(request, *, thinking=""):
    """The events of a run that is answered."""
    answer = an_answer(thinking)
    step = Step(kind="search", subject="fee", found=("fees.pdf, page 2",), count=1)
    middle = len("“The fee is 20 euros.” [1]")
    return [
        Admitted(
            run="r1",
            use_case=request.use_case or "documents",
            model=request.model or "quote",
            entry=5,
        ),
        StepStarted(number=1, kind="search", subject="fee"),
        StepFinished(number=1, step=step),
        *([Thinking(text=thinking)] if thinking else []),
        Cited(citation=answer.citations[0], source=answer.sources[0]),
        Text(text=TEXT[:middle]),
        Text(text=TEXT[middle:]),
        Finished(run="r1", outcome="answered", label="U", entry=6, answer=answer, steps=(step,)),
    ]


def a_kept_run():
    return SimpleNamespace(
        id="r1",
        use_case="documents",
        model="quote",
        label="U",
        outcome="answered",
        question="What is the fee?",
        created="2026-01-01T00:00:00Z",
        ended="2026-01-01T00:00:01Z",
        answer=an_answer(),
        steps=(),
        admitted_entry=5,
        finished_entry=6,
    )


ERRORS = {
    403: Refused("You may not ask this.", "Ask the owner."),
    404: NotFound("There is no such use case.", "List yours."),
    413: TooLarge("That is too long.", "Shorten it."),
    429: TooMany("Too many runs are open.", "Wait for one to end."),
}


def fresh(status):
    """An error of this status, without another test's traceback."""
    known = ERRORS[status]
    return type(known)(known.what, known.next)


def replaced(settings: Settings, **changes) -> Settings:
    return msgspec.structs.replace(settings, **changes)
