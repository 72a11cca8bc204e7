"""The demo registers: notes and questions about services and people that training never showed.

``python -m nano.registers FOLDER`` writes the documents, ``questions.toml`` and ``README.md``.
"""

from __future__ import annotations

import json
import random
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from nano.language import LANGUAGES, Note, Service, Writer, services, words

SEED = 2026
_NOTES, _FOUND, _SILENT, _ABSENT = 40, 2, 25, 20  # per language; _FOUND per note

_README = """# The demo registers

Short notes of a register office that does not exist: {notes} documents in English, each about
one service, with a few facts (fee, deadline, officer, opening time, room, document required,
validity). **Everything is fictional**: services, people, amounts and dates were drawn by chance,
and many notes resemble each other on purpose.

They are written in the small closed language that the shipped nano model reads. None of these
services and none of these family names occurred in its training. `questions.toml` holds
{questions} questions; where nothing in the registers answers ({unanswerable} of them), it says so.

Made by `training/nano/registers.py`, seed {seed}. Under the platform's licence, EUPL-1.2.
"""


@dataclass(frozen=True)
class Question:
    """A question about a register; ``note`` is None where nothing answers."""

    text: str
    service: Service
    attribute: str
    note: Note | None


@dataclass(frozen=True)
class Register:
    """Notes with the questions about them."""

    notes: tuple[Note, ...]
    questions: tuple[Question, ...]


def register(
    language: str, seed: int, *, notes: int, found: int, silent: int, absent: int
) -> Register:
    """Held-out notes of one language; ``found``: questions a note, the others altogether."""
    draw, writer = random.Random(seed), Writer(seed, held_out=True)
    attributes = list(words(language)["attributes"])
    chosen = draw.sample(services(language, True), notes)
    written = [writer.note(s, draw.sample(attributes, draw.choice((3, 4, 4, 5)))) for s in chosen]
    questions = [
        Question(writer.question(note.service, attribute), note.service, attribute, note)
        for note in written
        for attribute in draw.sample(list(note.sentences), found)
    ]
    for _ in range(silent):
        note = draw.choice(written)
        attribute = draw.choice([one for one in attributes if one not in note.sentences])
        text = writer.question(note.service, attribute)
        questions.append(Question(text, note.service, attribute, None))
    others = [service for service in services(language, True) if service not in chosen]
    for _ in range(absent):
        service, attribute = draw.choice(others), draw.choice(attributes)
        questions.append(Question(writer.question(service, attribute), service, attribute, None))
    return Register(tuple(written), tuple(questions))


def demo() -> list[Register]:
    """The registers that are shipped, one for each language."""
    return [
        register(language, SEED + i, notes=_NOTES, found=_FOUND, silent=_SILENT, absent=_ABSENT)
        for i, language in enumerate(LANGUAGES)
    ]


def file_name(service: Service) -> str:
    """Where the note of ``service`` lies."""
    return f"{service.name.replace(' ', '-')}.md"


def write(folder: Path) -> None:
    """Documents, questions and README."""
    registers = demo()
    lines = ["# Questions about the register notes beside this file; see README.md."]
    for one in registers:
        for note in one.notes:
            path = folder / "documents" / file_name(note.service)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {note.service.title}\n\n{note.body}\n", "utf-8")
        for number, question in enumerate(one.questions, 1):
            note = question.note
            lines += [
                "",
                "[[question]]",
                f'id = "register-{question.service.language}-{number:03}"',
                f"language = {_quoted(question.service.language)}",
                'split = "held-out"',
                f"text = {_quoted(question.text)}",
            ]
            if note is None:
                lines.append("answerable = false")
                continue
            document = _quoted(file_name(note.service))
            quote = _quoted(note.sentences[question.attribute])
            lines.append(f"gold = [{{ document = {document}, quote = {quote} }}]")
    text = "\n".join(lines) + "\n"
    parsed = tomllib.loads(text)["question"]
    (folder / "questions.toml").write_text(text, "utf-8")
    readme = _README.format(
        notes=sum(len(one.notes) for one in registers),
        questions=len(parsed),
        unanswerable=sum("gold" not in one for one in parsed),
        seed=SEED,
    )
    (folder / "README.md").write_text(readme, "utf-8")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
