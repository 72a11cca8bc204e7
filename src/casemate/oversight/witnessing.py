"""Witnessing: others see the ledger grow, and sign that they saw it.

A thread brings the configured witnesses up to date while entries come in, and whoever needs a
receipt has it do so at once. What witnesses are told is a checkpoint and hashes: no content.
Source: C2SP tlog-witness and tlog-cosignature v1.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from casemate.errors import CasemateError, Invalid, Unavailable
from casemate.gate.connection import Ways, session
from casemate.ledger.cosignature import CosignatureVerifier
from casemate.ledger.cosigning import Cosigning, Outcome, SplitView, WitnessAt, WitnessPolicy
from casemate.ledger.note import Note, NoteError
from casemate.ledger.proof import Checkpoint

if TYPE_CHECKING:
    from casemate.gate.acts import Acts
    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter
    from casemate.ledger.log import Log

_EVERY_SECONDS = 10.0  # at most, while entries come in
_CONNECT_SECONDS, _SILENCE_SECONDS = 5.0, 10.0
_LONGEST_ANSWER = 1 << 16


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    vkey: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    witness: list[_Entry]


def load_policy(path: Path, needed: int, failing: str) -> WitnessPolicy:
    """The witnesses of a TOML file, one ``[[witness]]`` with ``url`` and ``vkey`` each.

    Raises Invalid, saying what is wrong with the file.
    """
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=_File).witness
        witnesses = tuple(WitnessAt(one.url, CosignatureVerifier.parse(one.vkey)) for one in found)
        return WitnessPolicy(witnesses, needed, "closed" if failing == "closed" else "open")
    except OSError as problem:
        raise Invalid(
            f"The file of witnesses cannot be read: {problem.strerror}.",
            "Correct the setting `witnesses`.",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, NoteError) as problem:
        raise Invalid(
            f"The file of witnesses is not right: {problem}.",
            "Give each witness a [[witness]] with url and vkey.",
        ) from None


class Witnessing:
    """Keeps a log witnessed. ``close`` ends its thread.

    ``acts``: where a split view is recorded.
    """

    def __init__(
        self,
        log: Log,
        cosigning: Cosigning,
        policy: WitnessPolicy,
        acts: Acts,
        seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._log = log
        self._cosigning = cosigning
        self._policy = policy
        self._acts = acts
        self._seconds = seconds
        self._submitting = threading.Lock()
        self._closing = threading.Event()
        self._problems: dict[str, str] = {}
        self._told: set[str] = set()
        self._split: SplitView | None = None
        self._thread = threading.Thread(target=self._follow, name="witnessing", daemon=True)

    @property
    def policy(self) -> Mapping[str, object]:
        """See Witnesses."""
        chosen = self._policy
        return {
            "of": len(chosen.witnesses),
            "needed": chosen.needed,
            "failing": chosen.failing,
        }

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the witnesses are."""
        return tuple(witness.address for witness in self._policy.witnesses)

    @property
    def problems(self) -> Mapping[str, str]:
        """What last went wrong with each witness, by name; for the operator."""
        return dict(self._problems)

    def start(self) -> None:
        """Follow the log from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def checkpoint(self, size: int) -> bytes | None:
        """See Witnesses. Asks the witnesses if what they signed last is too old."""
        if self._split is not None:
            raise self._split
        with self._submitting:
            known = self._cosigning.newest()
            if known is None or not self._serves(known, size):
                self._submit()
                known = self._cosigning.newest()
        if known is not None and self._serves(known, size):
            return known
        if self._policy.failing == "open":
            return None
        raise Unavailable(
            f"Fewer than {self._policy.needed} witnesses have signed for this answer, and without "
            "them no receipt is given here.",
            "Try again in a minute; `casemate status` says which witness does not answer.",
        )

    def _follow(self) -> None:
        while not self._closing.wait(self._seconds):
            # That a split view could not be recorded must not end the watch: it is met again.
            with self._submitting, contextlib.suppress(CasemateError):
                known = self._cosigning.newest()
                if self._split is None and not (known and self._serves(known, self._log.size)):
                    self._submit()

    def _serves(self, note: bytes, size: int) -> bool:
        """Whether it counts enough entries, and a key that signs now, not one of old, signed it."""
        return _size(note) >= size and self._log.signed(note)

    def _submit(self) -> None:
        try:
            outcome: Outcome = self._cosigning.submit(self._log.checkpoint())
        except SplitView as found:
            self._noticed(found)
            return
        except CasemateError as problem:
            self._problems["*"] = problem.what
            return
        self._problems = dict(outcome.problems)

    def _noticed(self, found: SplitView) -> None:
        """A split view is recorded once for each witness.

        What a witness merely says keeps nobody from their receipts, or one that lies could. Where
        its signature proves it, none is given any more.
        """
        self._problems[found.witness] = found.what
        if found.proven:
            self._split = found
        if found.witness not in self._told:
            self._acts.record("ledger.split_view", None, witness=found.witness)
            self._told.add(found.witness)


def poster(perimeter: Perimeter, label: Label) -> Callable[[str, bytes], tuple[int, bytes]]:
    """A way to send something of ``label`` to a place inside the perimeter, from any thread.

    Raises Refused for a place outside; Unavailable if it does not answer.
    """
    ways = Ways()

    def post(url: str, body: bytes) -> tuple[int, bytes]:
        ways.allow(perimeter.route(url, label))
        return asyncio.run(_posted(ways, url, body))

    return post


async def _posted(ways: Ways, url: str, body: bytes) -> tuple[int, bytes]:
    import aiohttp

    try:
        async with (
            session(
                ways, connect_seconds=_CONNECT_SECONDS, silence_seconds=_SILENCE_SECONDS
            ) as client,
            client.post(url, data=body, allow_redirects=False) as response,
        ):
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > _LONGEST_ANSWER:
                    raise Unavailable("A witness said more than it was asked for.", "Look at it.")
            return response.status, bytes(content)
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        raise Unavailable("A witness does not answer.", "Look whether it runs.") from problem


def _size(note: bytes) -> int:
    return Checkpoint.parse(Note.parse(note).text).size
