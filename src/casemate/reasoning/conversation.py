"""Conversations: what was said before keeps its label, also when it comes back from outside.

The chat dialects send a whole conversation with each question, and none of them sends labels. An
earlier answer is known by its words: it is worth the label of the run that gave it. What nobody
here can tell the label of, though an assistant is said to have said it, is worth as much as the
asker may use under this use case: the most that it can be. So the label of a conversation is a
high-water mark; it only rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from casemate.reasoning.record import Runs

if TYPE_CHECKING:
    from casemate.gate.admission import Admission
    from casemate.gate.label import Label

_LOOKED_AT = 200  # of the asker's own runs, newest first


def high_water(
    runs: Runs, admission: Admission, history: Sequence[tuple[str, str]], label: Label
) -> Label:
    """The join of ``label`` and of every earlier turn in ``history`` (role, text).

    A turn of the asker's is as high as ``label`` says, unless it is an earlier answer word for
    word. May be above what ``admission`` allows: then nothing may be answered.
    """
    wanted = {_plain(text) for _, text in history} - {""}
    untold = {_plain(text) for role, text in history if role == "assistant"} - {""}
    if not untold:
        return label
    # Also runs that the asker may not see any more: their words are no lower for that.
    for text, own in runs.answers_of(admission.principal.id, _LOOKED_AT):
        said = _plain(text)
        if said in wanted:
            wanted.discard(said)
            untold.discard(said)
            label = label.join(own)
        if not wanted:
            break
    return label.join(admission.label) if untold else label


def _plain(text: str) -> str:
    return " ".join(text.split())
