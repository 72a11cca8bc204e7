"""An installation: everything that one data folder holds, opened and joined together.

The faces (cli, web, api) get it whole; nothing below knows it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from casemate import settings as settings_
from casemate.at_hand import promptly
from casemate.counts import Counts
from casemate.engines.registry import Engines
from casemate.engines.remote import Phases
from casemate.engines.schedule import Flow
from casemate.engines.turns import Turns
from casemate.errors import CasemateError, Invalid, NotFound, Refused
from casemate.gate import guard, pack, perimeter
from casemate.gate.acts import stamp
from casemate.gate.admission import Admission, Gate
from casemate.gate.buckets import Buckets
from casemate.gate.budget import Asker, Use
from casemate.gate.configured import Configured
from casemate.gate.perimeter import Perimeter
from casemate.gate.refusal import Telling
from casemate.ledger.cosigning import Cosigning
from casemate.ledger.keys import KeyFile, Keys
from casemate.ledger.log import Log
from casemate.ledger.object_shelf import ObjectShelf
from casemate.ledger.record import Ledger
from casemate.ledger.shelf import Shelf
from casemate.library.carrying import DocumentsInBundles
from casemate.library.downgrading import Downgrades
from casemate.library.files import Files
from casemate.library.index import TantivyIndex
from casemate.library.kept import Kept
from casemate.library.labelled import Labelled
from casemate.library.library import Library
from casemate.models.bundle.bundles import Bundles
from casemate.models.bundle.carrying import ModelsInBundles
from casemate.models.registry import Models
from casemate.oversight.applying import Applying
from casemate.oversight.forgetting import Forgetting
from casemate.oversight.hold import Holds
from casemate.oversight.retention import Retention
from casemate.oversight.review import Reviews
from casemate.oversight.rotation import Rotation
from casemate.oversight.witnessing import Witnessing, load_policy, poster
from casemate.randomness import random_bytes, random_hex
from casemate.reasoning.background import Background
from casemate.reasoning.batch import Batches
from casemate.reasoning.conversation import Conversations
from casemate.reasoning.embedding import Embedded, embed
from casemate.reasoning.event import Admitted, Event, Request
from casemate.reasoning.explain import Explanation, explain
from casemate.reasoning.high_water import high_water
from casemate.reasoning.record import Runs, recorded
from casemate.reasoning.relay import Relay, Tell, server_for
from casemate.reasoning.replay import Replay, replay
from casemate.reasoning.run import Reasoner
from casemate.serving import Found, Room, Serving
from casemate.settings import Settings
from casemate.store.blobs import Blobs, FolderBlobs, S3Blobs
from casemate.store.bucket import bucket_of
from casemate.store.database import Database
from casemate.store.folder import DataFolder, disk_problem
from casemate.store.keyring import Keyring, master_key

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.capacity import Capacity
    from casemate.gate.label import Label
    from casemate.library.parse import Extracted
    from casemate.models.manifest import Manifest

_KEY_FILE = "ledger.key"
_READINGS, _READINGS_WAITING = 2, 32


class Installation:
    """One data folder, open. Close it to give the folder back."""

    process = ""  # its name, where several serve

    def __init__(self, folder: DataFolder, settings: Settings, closing: ExitStack) -> None:
        self.folder = folder
        self.settings = settings
        self._closing = closing
        self.database = Database.open(folder.database)
        closing.callback(self.database.close)
        master = master_key(folder.master_key, make=folder.fresh)
        self.keyring = Keyring(master, self.database)
        self._buckets = self._reached()
        closing.callback(self._buckets.close)
        self.blobs = self._blobs()
        self._key_file = KeyFile(folder.path / _KEY_FILE, self.keyring)
        keys = self._keys()
        self.log = Log.open(
            self._shelf(),
            keys.current,
            keys.also,
            least=0 if folder.fresh else max(1, recorded(self.database)),
        )
        closing.callback(self.log.close)
        self.ledger = Ledger(self.log)
        self.gate = Gate.open(
            folder, self.database, self.ledger, settings, clock=_now, keyring=self.keyring
        )
        self._buckets.places = self.gate.perimeter
        closing.callback(self.gate.budgets.close)
        closing.callback(self.gate.watches.close)
        self.rotation = Rotation(self.log, self._key_file, self.gate)
        if guard.standing():
            closing.callback(Telling(self.gate.acts).close)
        country = self.gate.country
        self.models = Models(self.database, self.gate, folder.models)
        self.witnessing = self._witnessing(closing)
        self.ledger.witnesses = self.witnessing
        self.engines = Engines(
            self.gate.perimeter,
            files=self.models.files,
            acts=self.gate.acts,
            required_layers=country.isolation,
            slots=settings.model_slots,
            alone=settings.repeatable_runs,
            waiting=settings.waiting_runs,
            phases=phases(settings),
        )
        index = TantivyIndex(folder.index)
        closing.callback(index.close)
        self.library = Library(
            self.database,
            self.blobs,
            index,
            self.gate,
            self.ledger,
            clock=_stamp,
            new_id=_new_id,
            most_bytes=settings.upload_mebibytes << 20,
            thesaurus=country.thesaurus,
            may_hold=self._may_hold,
        )
        self.labelled = Labelled(self.library, self.gate, self.log.vkey.split("+", 1)[0])
        self.downgrades = Downgrades(
            self.database, self.gate, self.library, clock=_stamp, new_id=_new_id
        )
        self.carried_models = ModelsInBundles(self.models, self.database)
        self.carried_documents = DocumentsInBundles(self.library)
        self.bundles = Bundles(
            folder.path,
            self.gate,
            self.log.entries,
            vkey=self.log.vkey,
            promote={
                "model": self.carried_models.promote,
                "document": self.carried_documents.promote,
            },
        )
        self.runs = Runs(
            self.database,
            self.keyring,
            self.ledger,
            country.policy,
            clock=_stamp,
            new_id=_new_id,
            random=random_bytes,
        )
        closing.callback(self.runs.settle)
        self.reviews = Reviews(self.database, self.gate, self.ledger, clock=_stamp, new_id=_new_id)
        self.holds = Holds(
            self.database,
            self.keyring,
            self.gate,
            self.runs.collections_of,
            new_id=_new_id,
            random=random_bytes,
        )
        self.kept = Kept(
            self.database,
            self.keyring,
            self.blobs,
            country.policy,
            clock=_stamp,
            new_id=_new_id,
        )
        self.files = Files(
            self.kept, self.gate.acts, country.policy, most_bytes=settings.upload_mebibytes << 20
        )
        self.batches = Batches(self.kept, self.files, self.gate, at_once=settings.batch_runs)
        self.conversations = Conversations(self.kept, self.runs)
        self.background = Background(self.kept)
        self.applying = Applying(self.gate, self.library)
        self.retention = Retention(self.database, self.gate, self.holds, self.kept)
        self.forgetting = Forgetting(
            self.database, self.keyring, self.gate, self.ledger, self.library, self.holds, self.kept
        )
        # As many as there are processors; who is admitted to a run has room to wait here.
        self.searches = Turns(os.cpu_count() or 1, 1 << 30, time.monotonic)
        # Of files that are not kept, so that imports find places in the library's own queue.
        self.readings = Turns(_READINGS, _READINGS_WAITING, time.monotonic)
        self.used: dict[tuple[str, str], Use] = {}  # since the start, by use case and model
        # What other processes counted that serve this installation, too.
        self.counted_elsewhere: Callable[[], Awaitable[Counts]] = _alone
        self._reasoner = Reasoner(
            self.library,
            self.runs,
            most_characters=settings.question_characters,
            most_of_message=settings.message_characters,
            rounds=settings.run_rounds,
            seconds=settings.run_seconds,
            new_seed=lambda: int.from_bytes(random_bytes(4)) >> 1,
            repeatable=settings.repeatable_runs,
            searches=self.searches,
        )

    @classmethod
    def open(cls, path: Path, *, create: bool = True, **options: Any) -> Self:
        """Open the data folder at ``path``, making a usable installation of an empty one.

        ``options`` override settings. Raises Invalid, InUse, Unavailable or Tampered, each saying
        what is wrong with the folder and what to do.
        """
        with ExitStack() as closing:
            folder = DataFolder.open(path, create=create)
            closing.callback(folder.close)
            try:
                installation = cls(folder, settings_.load(path, **options), closing)
                installation._start()
            except OSError as problem:
                raise disk_problem(problem) from problem
            installation._closing = closing.pop_all()
            return installation
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close everything, last opened first."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def ask(
        self, caller: Caller, request: Request, priority: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer a question: admission, quota, run. Events as ``reasoning.event`` describes them.

        ``priority``: lower than that of the use case, for work that nobody waits for. Raises what
        the gate refuses before the first event.
        """
        admission = await self._admitted(caller, request, priority)
        size = sum(map(len, request.texts))
        async with self._served(admission, size, request.max_tokens) as served:
            manifest, engine, watch = served.manifest, served.engine, served.watch
            label = await self._label(admission, request, manifest)
            events = self._reasoner.run(admission, request, engine, manifest.digest(), label)
            run = ""
            try:
                async with aclosing(events), aclosing(watch.during(events)) as permitted:
                    async for event in permitted:
                        run = run or (event.run if isinstance(event, Admitted) else "")
                        yield event
            except CasemateError as problem:
                if run and problem is watch.problem:
                    await asyncio.to_thread(self._stopped, admission, run)
                raise

    async def tell(
        self,
        caller: Caller,
        request: Request,
        tell: Tell,
        priority: str | None = None,
        admitted: Callable[[], None] = lambda: None,
    ) -> None:
        """As ``ask``, with the events given to ``tell``: several at once where they come so.

        ``admitted`` is called once the gate has let it in, before that is recorded. What can be
        relayed is, which is the shortest way that there is. What ``tell`` raises ends the run.
        """
        admission = await self._admitted(caller, request, priority)
        admitted()
        size = sum(map(len, request.texts))
        async with self._served(admission, size, request.max_tokens) as served:
            manifest, engine, watch = served.manifest, served.engine, served.watch
            label = await self._label(admission, request, manifest)
            run = ""

            async def told(events: Sequence[Event]) -> None:
                nonlocal run
                run = run or (events[0].run if isinstance(events[0], Admitted) else "")
                await tell(events)

            try:
                async with watch.held():
                    server = server_for(admission, request, engine.engine)
                    if server is not None:
                        relay = Relay(
                            self._reasoner, admission, request, engine, server, manifest, told
                        )
                        await relay.run(label)
                        return
                    digest = manifest.digest()
                    events = self._reasoner.run(admission, request, engine, digest, label)
                    async with aclosing(events):
                        async for event in events:
                            await told((event,))
            except CasemateError as problem:
                if run and problem is watch.problem:
                    await asyncio.to_thread(self._stopped, admission, run)
                raise

    async def _admitted(self, caller: Caller, request: Request, priority: str | None) -> Admission:
        admission = await promptly(
            self.gate.admit,
            caller,
            use_case=request.use_case,
            collections=request.collections,
            model=request.model,
        )
        standing = admission.standing.under(priority)
        return (
            admission if standing is admission.standing else replace(admission, standing=standing)
        )

    async def _label(self, admission: Admission, request: Request, manifest: Manifest) -> Label:
        """Of the question, its conversation and the model."""
        policy = self.gate.country.policy
        asked = policy.parse(request.label) if request.label else policy.lowest()
        label = asked.join(policy.parse(manifest.label))
        return await promptly(high_water, self.runs, admission, request.history, label)

    async def embed(
        self,
        caller: Caller,
        texts: Sequence[str],
        *,
        use_case: str | None,
        model: str | None,
        label: str | None = None,
    ) -> Embedded:
        """Vectors for texts: admission, quota, a recorded run. ``label``: of the texts.

        Raises what the gate refuses, and NotHonoured for a model that makes none.
        """
        admission = await asyncio.to_thread(self.gate.admit, caller, use_case=use_case, model=model)
        size = sum(map(len, texts))
        async with self._served(admission, size, 1) as served, served.watch.held():
            policy = self.gate.country.policy
            sent = policy.parse(label) if label else policy.lowest()
            return await embed(
                self.runs,
                admission,
                texts,
                served.engine,
                served.manifest.digest(),
                sent.join(policy.parse(served.manifest.label)),
            )

    async def read(
        self,
        caller: Caller,
        name: str,
        content: bytes,
        *,
        use_case: str | None,
        label: Label,
        priority: str | None = None,
    ) -> Extracted:
        """The text of a file that is not kept: admission, quota and turn like a run's.

        ``label``: of the file. Raises what the gate refuses, TooMany, and what ``Library.read``
        raises.
        """
        admission = await asyncio.to_thread(self.gate.admit, caller, use_case=use_case)
        if not admission.label.dominates(label):
            raise Refused(
                "The label of this file is above what you may use here.",
                "Choose another use case, or ask whoever gave you access.",
            )
        admission = replace(admission, standing=admission.standing.under(priority))
        flow, turns = Flow.of(admission), self.readings
        with turns.place(flow), self.gate.watching(admission) as watch:
            async with self.gate.budgets.run(admission.asker, Use(tokens=0)), watch.held():
                with turns.turn(flow, max(1, len(content))) as turn:
                    await turn.come()
                    return await asyncio.to_thread(self.library.read, name, content)

    async def explain(self, caller: Caller, run: str) -> Explanation:
        """Which passages each sentence of a run depends on."""
        admission, contents, label = await asyncio.to_thread(self._recorded, caller, run)
        async with self._served(admission, _size(contents)) as served, served.watch.held():
            seconds = self.settings.run_seconds
            return await explain(run, contents, served.engine, label, seconds)

    async def replay(self, caller: Caller, run: str) -> Replay:
        """Run a run again and say what differs."""
        admission, contents, label = await asyncio.to_thread(self._recorded, caller, run)
        now = {}
        for id in {source["document_id"] for source in contents["sources"]}:
            try:
                now[id] = (await asyncio.to_thread(self.library.document, caller, id)).digest
            except NotFound:
                continue
        async with self._served(admission, _size(contents)) as served, served.watch.held():
            seconds = self.settings.run_seconds
            return await replay(run, contents, served.engine, label, now, seconds)

    def _stopped(self, admission: Admission, run: str) -> None:
        pseudonym = admission.principal.pseudonym
        self.gate.acts.record("run.stopped", None, run=run, subject=pseudonym)

    def configured(self) -> list[Configured]:
        """Every address that this installation was told to use, with its place or the problem."""
        places = self.gate.perimeter
        found = self._chosen()
        for model in self.models.list(self.gate.owner()):
            for address in () if model.state == "withdrawn" else model.manifest.servers:
                look = partial(places.declared, address, model.label)
                found.append(Configured.of(f"model {model.manifest.name} at", address, look))
        return found

    def require_inside(self) -> None:
        """Raise Refused if an address in the settings lies outside the perimeter."""
        for one in self._chosen():
            one.require()

    def _chosen(self) -> list[Configured]:
        """What the settings name. What people register is refused when it is registered."""
        places, lowest = self.gate.perimeter, self.gate.country.policy.lowest()
        found = [
            Configured.of("witness", address, partial(places.declared, address, lowest))
            for address in (() if self.witnessing is None else self.witnessing.addresses)
        ]
        for provider in self.gate.sign_ins.providers.values():
            look = partial(places.declared, provider.issuer, lowest)
            found.append(Configured.of("identity provider", provider.issuer, look))
        chosen = self.settings
        if collector := chosen.otlp_endpoint:
            look = partial(places.declared, collector, lowest)
            found.append(Configured.of("collector of traces", collector, look))
        for address, endpoint in (
            (chosen.blobs, chosen.blobs_endpoint),
            (chosen.ledger, chosen.ledger_endpoint),
        ):
            if address:
                bucket, _ = bucket_of(address)
                look = partial(places.bucket, bucket, endpoint, lowest)
                found.append(Configured.of("bucket", f"{address} at {endpoint}", look))
        return found

    def _witnessing(self, closing: ExitStack) -> Witnessing | None:
        if not self.settings.witnesses:
            return None
        policy = load_policy(
            self.folder.path / self.settings.witnesses,
            self.settings.witnesses_needed,
            self.settings.witnesses_failing,
        )
        # A checkpoint holds no content: it may go wherever the perimeter lets anything go.
        post = poster(self.gate.perimeter, self.gate.country.policy.lowest())
        cosigning = Cosigning(
            self.folder.path / "witnessing", policy, post, self.log.consistency, time.time
        )
        witnessing = Witnessing(self.log, cosigning, policy, self.gate.acts)
        closing.callback(witnessing.close)
        return witnessing

    def _reached(self) -> Buckets:
        # Before there is a gate, since the gate records what it does in the ledger.
        country = pack.load(self.folder.path / pack.FILE, self.settings.country)
        places = Perimeter.load(self.folder.path / perimeter.FILE, country)
        return Buckets(self.settings, places, country.policy.lowest())

    def _shelf(self) -> Path | Shelf:
        """Where the ledger lies. Raises Refused if that is a bucket outside the perimeter."""
        chosen = self.settings
        if not chosen.ledger:
            return self.folder.ledger
        self._buckets.require(chosen.ledger, chosen.ledger_endpoint)
        return ObjectShelf.at(chosen.ledger, chosen.ledger_endpoint, self._buckets.relay())

    def _blobs(self) -> Blobs:
        chosen = self.settings
        if not chosen.blobs:
            return FolderBlobs(self.folder.blobs)
        allowed = partial(self._buckets.require, chosen.blobs, chosen.blobs_endpoint)
        return S3Blobs.at(chosen.blobs, chosen.blobs_endpoint, allowed, self._buckets.relay())

    def _may_hold(self, label: Label) -> None:
        """Raise Refused if originals of ``label`` may not go to the bucket, where there is one."""
        if self.settings.blobs:
            self._buckets.require(self.settings.blobs, self.settings.blobs_endpoint, label)

    def _served(self, admission: Admission, size: int, most: int | None = None) -> Serving:
        return Serving(self.gate, self._model, self._placed, self._count, admission, size, most)

    def _placed(
        self, manifest: Manifest, capacity: Capacity, flow: Flow, asker: Asker
    ) -> AbstractAsyncContextManager[Turns]:
        """Room for one run among those that a model answers, and who goes when. Raises TooMany."""
        turns = self.engines.turns(manifest)
        turns.slots = capacity.slots
        return Room(turns, flow)

    def _count(self, admission: Admission, manifest: Manifest, used: Use) -> None:
        key = (admission.use_case.id, manifest.name)
        self.used.setdefault(key, Use(requests=0, runs=0)).add(used)

    def _model(self, id: str) -> Found:
        manifest = self.models.approved(id)
        capacity = self.gate.capacities.of(manifest.name, self.engines.slots(manifest))
        return manifest, self.engines.of(manifest), capacity

    def _recorded(self, caller: Caller, run: str) -> tuple[Admission, dict[str, Any], Label]:
        contents = self.runs.contents(caller, run)
        if "answer" not in contents:
            raise NotFound("This run has no answer.", "Only a run that ended with one has.")
        recorded = self.runs.get(caller, run)
        # Generation needs a right to it, also where it repeats what was said before.
        admission = self.gate.admit(caller, use_case=recorded.use_case, model=recorded.model)
        manifest = self.models.approved(recorded.model)
        policy = self.gate.country.policy
        label = policy.parse(recorded.label).join(policy.parse(manifest.label))
        if not admission.label.dominates(label):
            raise Refused(
                "This run is above what you may use here by now.",
                "Ask whoever gave you access.",
            )
        self.gate.acts.record("run.repeated", caller.principal, run=run)
        return admission, contents, label

    def _start(self) -> None:
        if self.folder.fresh:
            self.gate.first_start(_account())
            self.models.register_builtin()
            self.gate.perimeter.settle()
            self.folder.finish_creation()
            return
        self.gate.perimeter.settle()
        self.models.recover()
        self.runs.recover()
        self.library.recover()
        self.bundles.recover()
        self.forgetting.recover()

    def _keys(self) -> Keys:
        if self.folder.fresh:
            origin = self.settings.origin or f"casemate.local/{secrets.token_hex(4)}"
            return self._key_file.make(origin)
        keys = self._key_file.read()
        if self.settings.origin not in ("", keys.current.name):
            raise Invalid(
                f"The ledger's origin is {keys.current.name} and cannot be changed.",
                "Take the setting `origin` out, or start a new data folder.",
            )
        return keys


def phases(chosen: Settings) -> Phases:
    """How long an exchange with a model server may take."""
    return Phases(
        connect=chosen.remote_connect_seconds,
        first=chosen.remote_first_token_seconds,
        between=chosen.remote_between_tokens_seconds,
        whole=chosen.remote_answer_seconds,
    )


def _size(contents: dict[str, Any]) -> int:
    """Characters that a repetition of a run reads."""
    texts = [contents["question"]["text"], *(one["text"] for one in contents["sources"])]
    return sum(map(len, texts))


async def _alone() -> Counts:
    return Counts()


def _now() -> datetime:
    return datetime.now(UTC)


def _stamp() -> str:
    return stamp(_now())


def _new_id(kind: str) -> str:
    return f"{kind}_{random_hex(10)}"


def _account() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "owner"
