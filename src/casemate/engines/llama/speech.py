"""How one model is spoken to: its template, its tokens, and the marks in its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.engines.llama.gap import Gap
from casemate.engines.llama.stream import OPENS, Marks
from casemate.engines.llama.template import MistralTemplate, Piece, Template
from casemate.engines.llama.vocabulary import Vocabulary
from casemate.engines.llama.weights_template import WeightsTemplate
from casemate.errors import Invalid, Tampered, Unsupported

if TYPE_CHECKING:
    from casemate.engines.engine import Prompt
    from casemate.engines.llama.tekken import Tekken
    from casemate.models.manifest import Manifest
    from casemate.models.profile import Profile

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 9  # Mistral's templates take no other


@dataclass(frozen=True)
class Speech:
    """Template, tokenizer and marks of one model. ``tekken`` None: the weights' own tokenizer.

    ``gap`` None: the model is not said to fill in.
    """

    template: Template
    tekken: Tekken | None
    controls: Mapping[str, int]
    begin: int | None  # the token that goes before any text
    gap: Gap | None = None

    @classmethod
    def of(cls, manifest: Manifest, profile: Profile, folder: Path, weights: Path) -> Speech:
        """For the model whose files lie in ``folder``. Raises Tampered, Invalid, Unsupported."""
        try:
            vocabulary = Vocabulary.read(weights)
        except Invalid as problem:
            raise Tampered(
                problem.what, "Propose it again from its origin, in GGUF and whole."
            ) from problem
        tekken = _tekken(manifest, folder, vocabulary)
        template: Template
        if profile.template == "weights":
            template = WeightsTemplate(vocabulary)
        elif tekken is None:
            raise Unsupported(
                f"The template {profile.template} is for models with a Tekken tokenizer.",
                "Let its profile take the template that lies in the weights.",
            )
        else:
            template = MistralTemplate(profile.template, tekken.controls)
        begin = vocabulary.begin if vocabulary.begins else None
        controls = vocabulary.controls if tekken is None else tekken.controls
        gap = Gap.of(vocabulary, controls) if manifest.fills else None
        return cls(template, tekken, vocabulary.controls, begin, gap)

    @property
    def marks(self) -> Marks:
        """Of thinking and of calls."""
        return Marks.of(self.controls)

    def pieces(self, prompt: Prompt) -> list[Piece]:
        """``prompt`` as control tokens and texts. Raises Unsupported for what it cannot say."""
        if prompt.suffix is None:
            return self.template.pieces(prompt.messages, prompt.tools)
        if self.gap is None:
            raise Unsupported("This model fills in no gaps.", "Choose one that was trained for it.")
        return self.gap.pieces(prompt.question, prompt.suffix)

    def begun(self, pieces: list[Piece]) -> bool:
        """Whether the answer to this begins inside the thinking."""
        last = pieces[-1] if pieces else ""
        if isinstance(last, str):
            return last.rstrip().endswith(OPENS)
        return last == self.marks.think


def call_id(prompt: list[int], number: int) -> str:
    """An id for the call of this number after ``prompt``: the same again in a replay."""
    drawn = hashlib.sha256(f"{number}:{prompt}".encode()).digest()
    value, letters = int.from_bytes(drawn[:8], "big"), ""
    for _ in range(_ID_LENGTH):
        value, place = divmod(value, len(_LETTERS))
        letters += _LETTERS[place]
    return letters


def _tekken(manifest: Manifest, folder: Path, vocabulary: Vocabulary) -> Tekken | None:
    if vocabulary.kind != "tekken":
        return None
    from casemate.engines.llama.tekken import Tekken

    if manifest.tokenizer is None:
        return Tekken.of(vocabulary)
    tekken = Tekken.parse((folder / manifest.tokenizer).read_bytes())
    known = vocabulary.controls
    if any(known.get(name, id) != id for name, id in tekken.controls.items()):
        raise Invalid(
            "The tokenizer file does not belong to these weights.",
            "Propose the model with the files that belong together.",
        )
    return tekken
