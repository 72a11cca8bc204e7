"""Files: what somebody sends to be worked on later, as it was sent.

A file is not a document: nothing is found in it by a question, until its owner adds it to a
collection. It is the input of a batch, or what a batch gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from casemate.errors import Invalid, TooLarge
from casemate.library.kept import Kept, Thing

if TYPE_CHECKING:
    from casemate.gate.acts import Acts
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label, LabelPolicy

PURPOSES = ("assistants", "batch", "user_data", "evals", "vision", "fine-tune", "ocr")
RESULT = "batch_output"
_LONGEST_NAME = 255
_KIND = "file"


class Files:
    """Everybody's own files. ``most_bytes``: how large one may be."""

    def __init__(self, kept: Kept, acts: Acts, policy: LabelPolicy, *, most_bytes: int) -> None:
        self._kept = kept
        self._acts = acts
        self._policy = policy
        self._most_bytes = most_bytes

    def add(
        self,
        caller: Caller,
        name: str,
        content: bytes,
        *,
        purpose: str,
        label: Label | None = None,
        use_case: str | None = None,
    ) -> Thing:
        """Keep a file; without ``label`` it has the policy's lowest.

        Raises Invalid (name, purpose), TooLarge, Refused (a label above the clearance).
        """
        tidy = "".join(sign if sign.isprintable() else "\ufffd" for sign in name.strip())
        if not tidy or len(tidy) > _LONGEST_NAME:
            raise Invalid("A file needs a name.", f"Give one of at most {_LONGEST_NAME} signs.")
        if purpose not in (*PURPOSES, RESULT):
            raise Invalid(
                f"There is no purpose {purpose[:40]!r}.", f"There are: {', '.join(PURPOSES)}."
            )
        if len(content) > self._most_bytes:
            raise TooLarge(f"The file is larger than {self._most_bytes >> 20} MiB.", "Split it.")
        facts = {"name": tidy, "purpose": purpose, "size": len(content)}
        made = self._kept.add(
            caller,
            _KIND,
            facts,
            label=self._policy.lowest() if label is None else label,
            use_case=use_case,
            content=content,
        )
        self._acts.record(
            "file.added", caller.principal, file=made.id, label=str(made.label), size=len(content)
        )
        return made

    def get(self, caller: Caller, id: str) -> Thing:
        """One file. Raises NotFound if it is absent or hidden."""
        return self._kept.get(caller, _KIND, id)

    def list(self, caller: Caller) -> Sequence[Thing]:
        """The caller's files, oldest first."""
        return self._kept.list(caller, _KIND)

    def content(self, caller: Caller, id: str) -> bytes:
        """The bytes as they were sent. Raises NotFound."""
        return self._kept.content(self.get(caller, id))

    def delete(self, caller: Caller, id: str) -> None:
        """Erase a file for good. Raises NotFound."""
        thing = self.get(caller, id)
        self._kept.delete(thing)
        self._acts.record("file.deleted", caller.principal, file=thing.id)
