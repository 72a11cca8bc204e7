"""Embedding: vectors for texts, admitted and recorded like every other run.

What the ledger commits to is the texts, and the digest of the vectors (float32, little-endian,
one after the other): canonical JSON holds no fractions.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.engines.engine import Engine
from casemate.errors import Invalid, Refused
from casemate.reasoning.record import Runs
from casemate.reasoning.run import NotHonoured

if TYPE_CHECKING:
    from casemate.gate.admission import Admission
    from casemate.gate.label import Label

MOST_TEXTS = 2048


@dataclass(frozen=True)
class Embedded:
    """One vector for each text. ``read``: tokens of all of them, where the engine counts."""

    run: str
    use_case: str
    label: Label
    vectors: Sequence[Sequence[float]]
    read: int | None


async def embed(
    runs: Runs,
    admission: Admission,
    texts: Sequence[str],
    engine: Engine,
    model_digest: str,
    label: Label,
) -> Embedded:
    """Vectors for ``texts``; ``label`` joins theirs and the model's.

    Raises Invalid, NotHonoured (the model makes none) or Refused before anything is recorded;
    what the engine raises, after the run's end was recorded as failed.
    """
    if not texts or not all(text.strip() for text in texts):
        raise Invalid("A text to embed is empty.", "Send texts with words in them.")
    if len(texts) > MOST_TEXTS:
        raise Invalid(f"More than {MOST_TEXTS} texts at once.", "Send fewer at a time.")
    if any("\ud800" <= sign <= "\udfff" for text in texts for sign in text):
        raise Invalid("A text to embed is not valid text.", "Write it in UTF-8.")
    if "embed" not in engine.capabilities:
        raise NotHonoured("model", "The model of this use case makes no vectors.")
    if not admission.label.dominates(label):
        raise Refused(
            "The texts' or the model's label is above what you may use here.",
            "Choose another use case or model, or ask whoever gave you access.",
        )
    opened = await asyncio.to_thread(
        runs.open, admission, {"texts": list(texts)}, model_digest, label
    )
    ended = False
    try:
        made = await engine.embed(texts, label=label)
        vectors = made.vectors
        facts = {
            "count": len(vectors),
            "dimensions": len(vectors[0]),
            "digest": "sha256:" + hashlib.sha256(packed(vectors)).hexdigest(),
        }
        closing = asyncio.to_thread(runs.close, opened, "answered", label, {"vectors": facts})
        ended = True
        await asyncio.shield(closing)
    finally:
        if not ended:
            # Shielded: a reader who goes away cancels the run, never its record.
            await asyncio.shield(asyncio.to_thread(runs.close, opened, "failed", label, {}))
    return Embedded(opened.id, admission.use_case.id, label, vectors, made.read)


def packed(vectors: Sequence[Sequence[float]]) -> bytes:
    """The vectors as bytes: float32, little-endian, one after the other."""
    return b"".join(struct.pack(f"<{len(one)}f", *one) for one in vectors)
