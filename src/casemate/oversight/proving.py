"""Proving the perimeter: trying to get out in every way we know, and saying what stopped each.

A way counts as stopped only where it would have arrived: the destinations are listeners that this
process starts itself, or the kernel said no. A way that failed for want of a route is "unproven";
one that arrived is "open"; one that a declared place allows is "inside". The report is kept in the
data folder, and its digest is an entry of the ledger.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import casemate
from casemate.engines.llama.life import Life, Load
from casemate.errors import CasemateError, Unavailable
from casemate.gate import guard
from casemate.gate.acts import digest
from casemate.isolation import LAYERS
from casemate.ledger.receipt import canonical
from casemate.oversight import escape
from casemate.oversight.attempts import ODD_ADDRESSES, Attempt, by_compiled_code, by_kind, by_python
from casemate.oversight.listening import Listeners, listening, others
from casemate.store.folder import disk_problem, write_durably

if TYPE_CHECKING:
    from casemate.gate.acts import Acts
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter

FOLDER = "proofs"
_CHILD_SECONDS = 120.0
_ENGINE_SECONDS = 60.0
# What a kernel answers where there is no way, rule or none.
_NO_ROUTE = frozenset(
    {"ENETUNREACH", "EADDRNOTAVAIL", "ENODEV", "ENETDOWN", "ETIMEDOUT", "EAI_AGAIN", "EINPROGRESS"}
)
_DNS_PORT = 53

Outcome = Literal["stopped", "open", "unproven", "inside"]


@dataclass(frozen=True)
class Way:
    """One way out that was tried. where: what tried it; layer: what stopped it, if anything."""

    where: str
    way: str
    outcome: Outcome
    layer: str
    detail: str


@dataclass(frozen=True)
class Proof:
    """Every way, and the entry of the ledger that holds the digest of the report."""

    ways: tuple[Way, ...]
    digest: str
    entry: int

    @property
    def counts(self) -> dict[str, int]:
        """How many ways ended in which way."""
        found = Counter(way.outcome for way in self.ways)
        return {outcome: found[outcome] for outcome in ("stopped", "open", "unproven", "inside")}


class Proving:
    """Tries to get out of one installation. ``folder``: where its data lies."""

    def __init__(self, perimeter: Perimeter, acts: Acts, folder: Path, lowest: Label) -> None:
        self._perimeter = perimeter
        self._acts = acts
        self._folder = folder
        self._lowest = lowest

    async def prove(self, actor: Caller) -> Proof:
        """Try every way; keep the report and record its digest. Takes some seconds.

        Raises Unavailable if the report cannot be kept or recorded.
        """
        ways = await asyncio.to_thread(self._from_here)
        ways += await _from_an_engine()
        report = {
            "v": 1,
            "what": "proof of the perimeter",
            "time": self._acts.now(),
            "perimeter": self._perimeter.digest,
            "guarded": guard.standing(),
            "kernel": platform.release(),
            "account": os.getuid(),
            "ways": [asdict(way) for way in ways],
        }
        proof = Proof(tuple(ways), digest(report), 0)
        await asyncio.to_thread(self._keep, proof.digest, report)
        entry = await asyncio.to_thread(
            self._acts.record,
            "perimeter.proved",
            actor.principal,
            perimeter=self._perimeter.digest,
            report=proof.digest,
            **proof.counts,
        )
        return Proof(proof.ways, proof.digest, entry)

    def _from_here(self) -> list[Way]:
        places = self._perimeter.places
        with listening(places) as listeners:
            ways = list(self._configured(listeners))
            ways += self._tried("this process", by_python(listeners), listeners.arrived)
            ways += self._tried("this process", by_kind(), None)
            ways += self._tried("compiled code", by_compiled_code(listeners), listeners.arrived)
            ways += self._bare(listeners)
        ways += _read_by_the_reader()
        return ways

    def _configured(self, listeners: Listeners) -> Iterator[Way]:
        """Addresses that nobody may use, however they are written."""
        _, port = listeners.tcp["this machine"]
        for pattern in ODD_ADDRESSES:
            url = pattern.format(port=port)
            try:
                self._perimeter.declared(url, self._lowest)
            except CasemateError as refusal:
                yield Way("configuration", url, "stopped", "configuration", refusal.what)
            else:
                yield Way("configuration", url, "open", "", "it was taken")

    def _tried(
        self,
        where: str,
        attempts: Iterator[tuple[str, Attempt]],
        arrived: Callable[[], bool] | None,
    ) -> Iterator[Way]:
        for name, attempt in attempts:
            problem: Exception | None = None
            try:
                attempt()
            except Exception as raised:
                problem = raised
            if _by_the_guard(problem):
                yield Way(where, name, "stopped", "guard", "")
            elif arrived() if arrived is not None else problem is None:
                yield Way(where, name, "open", "", "it arrived" if arrived else "it was done")
            elif name == "looking up a name":
                yield self._looked_up(where, _error(problem))
            else:
                yield _by_the_kernel(where, name, _error(problem))

    def _bare(self, listeners: Listeners) -> Iterator[Way]:
        """What compiled code could do, from a process without a guard."""
        own = (str(self._folder), "/proc/self", "@casemate-proof-", "/tmp/casemate-")  # noqa: S108
        strangers = others((*own, str(Path(listeners.path).parent)), self._perimeter.places)
        targets = {
            "tcp": [[name, *where] for name, where in listeners.tcp.items()],
            "udp": [[name, *where] for name, where in listeners.udp.items()],
            "unix": strangers,
        }
        found = _child("bare", targets)
        arrived = listeners.arrived()
        for name, outcome in found.items():
            if name == "TCP to an address abroad":
                yield _abroad(name, outcome)
            elif name == "looking up a name":
                yield self._looked_up("compiled code", outcome)
            elif outcome == "through" and name.startswith("UDP") and not arrived:
                yield Way("compiled code", name, "stopped", "kernel", "it did not arrive")
            elif outcome == "through":
                yield Way("compiled code", name, "open", "", "")
            else:
                yield _by_the_kernel("compiled code", name, outcome)
        if not strangers:
            detail = "no other program listens here"
            yield Way("compiled code", "Unix sockets of others", "unproven", "", detail)

    def _looked_up(self, where: str, outcome: str) -> Way:
        name = "looking up a name"
        if outcome in ("through", "EAI_NONAME"):
            if self._resolvers_declared():
                return Way(where, name, "inside", "", "the name server is a declared place")
            return Way(where, name, "open", "", "a name server answered")
        return Way(where, name, "unproven", "", f"{outcome}: no name server answered")

    def _resolvers_declared(self) -> bool:
        try:
            text = Path("/etc/resolv.conf").read_text("utf-8", "replace")
        except OSError:
            return False
        found = re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)
        try:
            for one in found:
                host = f"[{one}]" if ":" in one else one
                self._perimeter.declared(f"udp://{host}:{_DNS_PORT}", self._lowest)
        except CasemateError:
            return False
        return bool(found)

    def _keep(self, name: str, report: dict[str, object]) -> None:
        folder = self._folder / FOLDER
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            write_durably(folder / f"{name.removeprefix('sha256:')}.json", canonical(report))
        except OSError as problem:
            raise disk_problem(problem) from problem


def _by_the_guard(problem: BaseException | None) -> bool:
    seen: set[int] = set()
    waiting = [problem]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, guard.Outside):
            return True
        seen.add(id(one))
        inner = (getattr(one, "reason", None), getattr(one, "os_error", None))
        found = [one.__cause__, one.__context__, *inner]
        waiting += [each for each in found if isinstance(each, BaseException)]
    return False


def _error(problem: BaseException | None) -> str:
    if problem is None:
        return "it did not arrive"
    if isinstance(problem, socket.gaierror):
        return "EAI_NONAME" if problem.errno == socket.EAI_NONAME else "EAI_AGAIN"
    number = getattr(problem, "errno", None)
    return errno.errorcode.get(number or 0, type(problem).__name__)


def _abroad(name: str, outcome: str) -> Way:
    if outcome == "through":
        return Way("compiled code", name, "open", "", "")
    detail = f"{outcome}: by a rule, or for want of a way"
    return Way("compiled code", name, "unproven", "", detail)


def _by_the_kernel(where: str, name: str, error: str) -> Way:
    if error in _NO_ROUTE:
        return Way(where, name, "unproven", "", f"{error}: there is no way here, rule or none")
    return Way(where, name, "stopped", "kernel", error)


def _read_by_the_reader() -> list[Way]:
    """From a process that gave up what the reader of documents gives up."""
    return [
        _isolated("reading process", name, outcome)
        for name, outcome in _child("reading", {}).items()
    ]


async def _from_an_engine() -> list[Way]:
    """From a process that a model would live in, with nothing loaded."""
    gone = asyncio.Event()
    life = Life(Load(Path("/nonexistent/casemate-proof")), lambda _: gone.set())
    try:
        message = await asyncio.wait_for(life.message(), _ENGINE_SECONDS)
    except (TimeoutError, ValueError):
        message = None
    finally:
        life.kill("it was tried out")
        await gone.wait()
    if message is None or message.isolated is None:
        return [Way("engine process", "every way", "unproven", "", "it did not start")]
    ways = [
        _isolated("engine process", name, error or "EPERM" if blocked else "through")
        for name, blocked, error in message.isolated.proof
    ]
    missing = [layer for layer in LAYERS if layer not in message.isolated.layers]
    detail = f"missing: {', '.join(missing)}" if missing else ""
    outcome: Outcome = "unproven" if missing else "stopped"
    return [Way("engine process", "all layers of isolation", outcome, "isolation", detail), *ways]


def _isolated(where: str, name: str, outcome: str) -> Way:
    if outcome == "through":
        return Way(where, name, "open", "", "")
    return Way(where, name, "stopped", "isolation", outcome)


def _child(mode: str, targets: dict[str, Any]) -> dict[str, str]:
    root = str(Path(casemate.__file__).resolve().parent.parent)
    script = str(Path(escape.__file__).resolve())
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and script
            [sys.executable, "-I", "-B", script, mode, root],
            input=json.dumps(targets) + "\n",
            capture_output=True,
            text=True,
            timeout=_CHILD_SECONDS,
            cwd="/",
            env={k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"},
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as problem:
        raise Unavailable(
            "The process that tries to get out did not report.", "Try again; then tell us."
        ) from problem
    return found
