"""Steps of writing: what a model does with its turn, told as it changes from one to another."""

from __future__ import annotations

from casemate.reasoning.draft import Draft
from casemate.reasoning.event import Event, StepStarted


class Steps:
    """The step that is under way, of those that think and write. ``kind``: empty for none."""

    def __init__(self, draft: Draft, kind: str) -> None:
        self._draft = draft
        self.kind = kind
        self._since = 0  # what there was when it began

    def begin(self) -> StepStarted:
        """The first step begins."""
        return self._draft.begin(self.kind)

    def turn_to(self, kind: str) -> list[Event]:
        """Another step begins, and the one before is done; nothing if it is the same."""
        if kind == self.kind:
            return []
        events = self.done()
        self.kind = kind
        if kind:
            self._since = self._count()
            events.append(self._draft.begin(kind))
        return events

    def limit(self, bound: str) -> list[Event]:
        """A bound was met."""
        return [self._draft.begin("limit", bound), self._draft.end("limit", bound)]

    def done(self) -> list[Event]:
        """The step that is under way is done, if it added anything."""
        count = self._count() - self._since
        return [self._draft.end(self.kind, count=count)] if count else []

    def close(self) -> list[Event]:
        """The last is done; the answer is verified."""
        events = self.done()
        self._draft.close()
        verified = len(self._draft.citations)
        return [*events, self._draft.begin("verify"), self._draft.end("verify", count=verified)]

    def _count(self) -> int:
        """What a step of this kind adds to: characters thought, or sentences; none without one."""
        if self.kind == "think":
            return sum(map(len, self._draft.thinking))
        # Text that nothing is bound in has no sentences while it is written.
        return (len(self._draft.sentences) or len(self._draft.text)) if self.kind else 0
