"""The closed language: small register notes, questions about them, and the one right answer.

The words lie in ``languages/*.toml``. Everything is drawn from a seeded generator; a fixed share of
services and family names is kept out of training, so that what is measured on them is reading and
not memory.
"""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en",)
SYSTEM = "Think first. Then answer from the numbered passages and name them."

_HERE = Path(__file__).parent / "languages"
_HELD_OUT_ONE_IN = 8
_FIRST = (
    "Bar Bel Bor Dal Del Dor Fal Fen Gar Gel Gor Hal Hem Hol Jar Kal Kel Kor Lam Lem Lor Mar Mel "
    "Mor Nar Nel Nor Pal Pel Por Ral Rem Ros Sal Sel Sor Tal Tel Tor Val Vel Vor Wal Wen Wol Zan "
    "Zel Zor"
).split()
_MIDDLE = ("", "", "", "a", "e", "i", "o", "al", "en", "ir", "os")
_LAST = (
    "bach deck din ford gard hoff kamp lin mann mont nard ner pert quin rath sand stad tal ton "
    "vell vic wald wick zen"
).split()


@dataclass(frozen=True)
class Service:
    """What a note is about: a modifier and a noun."""

    language: str
    modifier: str
    noun: str

    @property
    def held_out(self) -> bool:
        """Whether it never occurs in training."""
        return _kept_out(f"{self.language} {self.modifier} {self.noun}")

    @property
    def name(self) -> str:
        """Without an article."""
        return f"{self.modifier} {self.noun}"

    @property
    def title(self) -> str:
        """As a heading."""
        return self.name[:1].upper() + self.name[1:]


@dataclass(frozen=True)
class Note:
    """A register note: a service and one sentence for each attribute that it gives."""

    service: Service
    sentences: dict[str, str]

    @property
    def body(self) -> str:
        """Its sentences as running text."""
        return " ".join(self.sentences.values())

    def passage(self, number: int, *, headed: bool) -> str:
        """As a numbered passage; ``headed``: the heading stands once more in the text."""
        title = self.service.title
        return f"[{number}] {title}\n" + (f"{title}\n\n" if headed else "") + self.body


@dataclass(frozen=True)
class Task:
    """A question with its passages. ``number``: of the passage that answers, 0 if none does.

    kind: found | silent (the right note lacks the attribute) | absent (no note of the service).
    """

    language: str
    kind: str
    notes: tuple[Note, ...]
    headed: tuple[bool, ...]
    question: str
    thinking: str
    answer: str
    number: int
    sentence: str

    @property
    def user(self) -> str:
        """What the user's turn holds."""
        return user_text(self.notes, self.headed, self.question)


def user_text(notes: Sequence[Note], headed: Sequence[bool], question: str) -> str:
    """Numbered passages, an empty line between them, and the question."""
    passages = (
        note.passage(number, headed=head)
        for number, (note, head) in enumerate(zip(notes, headed, strict=True), 1)
    )
    return "\n\n".join((*passages, question))


@cache
def words(language: str) -> dict[str, Any]:
    """The words and patterns of ``language``."""
    parts = tomllib.loads((_HERE / f"{language}.toml").read_text("utf-8"))
    return parts | {"modifiers": parts["modifiers"].split()}


@cache
def services(language: str, held_out: bool) -> tuple[Service, ...]:
    """Every service of ``language`` that is, or is not, kept out of training."""
    parts = words(language)
    every = (Service(language, m, n) for m in parts["modifiers"] for n in parts["nouns"])
    return tuple(service for service in every if service.held_out == held_out)


@cache
def names(held_out: bool) -> tuple[str, ...]:
    """Family names, made of syllables, that are, or are not, kept out of training."""
    made = {first + middle + last for first in _FIRST for middle in _MIDDLE for last in _LAST}
    return tuple(sorted(name for name in made if _kept_out(name) == held_out))


class Writer:
    """Draws notes and tasks.

    held_out: services and names that training never shows. similar: share of the other passages
    that are about a service with the same noun or modifier.
    """

    def __init__(self, seed: int, *, held_out: bool = False, similar: float = 0.8) -> None:
        self._random = random.Random(seed)
        self._held_out = held_out
        self._alike = similar

    def note(self, service: Service, attributes: Sequence[str]) -> Note:
        """A note that gives ``attributes``."""
        sentences = {
            attribute: sentence_of(service, attribute, self._value(service.language, attribute))
            for attribute in attributes
        }
        return Note(service, sentences)

    def question(self, service: Service, attribute: str) -> str:
        """A question for ``attribute`` of ``service``."""
        patterns = words(service.language)["attributes"][attribute]["questions"]
        return str(self._random.choice(patterns)).format(name=service.name)

    def task(
        self,
        languages: Sequence[str],
        passages: Sequence[int],
        facts: Sequence[int],
        *,
        unanswerable: float = 0.4,
        kind: str | None = None,
    ) -> Task:
        """One task: numbers of passages and of facts a note are drawn from what is given."""
        draw = self._random
        language = draw.choice(languages)
        asked = draw.choice(services(language, self._held_out))
        attributes = list(words(language)["attributes"])
        attribute = draw.choice(attributes)
        if kind is None:
            kind = draw.choice(("silent", "absent")) if draw.random() < unanswerable else "found"
        count = draw.choice(passages)
        about = [] if kind == "absent" else [asked]
        about += self._similar(asked, count - len(about))
        draw.shuffle(about)
        notes = []
        for service in about:
            given = draw.sample(attributes, min(draw.choice(facts), len(attributes) - 1))
            if service == asked:
                given = self._with(language, given, attribute, kind == "found")
            elif draw.random() < 0.5:
                given = self._with(language, given, attribute, True)
            notes.append(self.note(service, given))
        share = draw.choice((0.0, 0.5, 1.0))
        headed = tuple(draw.random() < share for _ in notes)
        return solved(notes, headed, asked, attribute, self.question(asked, attribute))

    def _with(self, language: str, given: list[str], attribute: str, present: bool) -> list[str]:
        if present and attribute not in given:
            given[self._random.randrange(len(given))] = attribute
        elif not present and attribute in given:
            others = [one for one in words(language)["attributes"] if one not in given]
            given[given.index(attribute)] = self._random.choice(others)
        return given

    def _similar(self, asked: Service, count: int) -> list[Service]:
        """Other services; a share of them has a word in common with ``asked``."""
        every = services(asked.language, self._held_out)
        found: list[Service] = []
        while len(found) < count:
            like = self._random.random()
            service = self._random.choice(every)
            if like < self._alike / 2:
                service = self._random.choice([s for s in every if s.modifier == asked.modifier])
            elif like < self._alike:
                service = self._random.choice([s for s in every if s.noun == asked.noun])
            if service != asked and service not in found:
                found.append(service)
        return found

    def _value(self, language: str, attribute: str) -> str:
        draw, parts = self._random, words(language)
        match attribute:
            case "fee":
                return f"{draw.choice((draw.randint(3, 99), draw.randint(100, 480)))} euros"
            case "deadline":
                return f"{draw.randint(1, 28)} {draw.choice(parts['months'])}"
            case "person":
                return f"{draw.choice(parts['honorifics'])} {draw.choice(names(self._held_out))}"
            case "hours":
                return f"{draw.choice(parts['weekdays'])} from {draw.randint(7, 16)}"
            case "room":
                return f"room {draw.randint(2, 99)}"
            case "document":
                return str(draw.choice(parts["papers"]))
            case _:
                return f"{draw.randint(2, 19)} {draw.choice(parts['units'])}"


def sentence_of(service: Service, attribute: str, value: str) -> str:
    """The sentence that gives ``value``."""
    return f"The {_fact(service, attribute)} is {value}."


def _fact(service: Service, attribute: str) -> str:
    return f"{words(service.language)['attributes'][attribute]['fact']} for the {service.name}"


def solved(
    notes: Sequence[Note],
    headed: Sequence[bool],
    asked: Service,
    attribute: str,
    question: str,
) -> Task:
    """The task that asks for ``attribute`` of ``asked`` among ``notes``, with its one answer."""
    parts = words(asked.language)
    # The note of the service if it is there, else the first: what is read aloud before judging.
    number = next((n for n, note in enumerate(notes, 1) if note.service == asked), 1)
    note = notes[number - 1]
    sentence = note.sentences.get(attribute, "") if note.service == asked else ""
    steps = [parts["about"].format(asked=asked.name, number=number, told=note.service.name)]
    kind, answer = "found", f"{sentence[:-1]} [{number}]."
    if note.service != asked:
        kind, answer, number = "absent", str(parts["nothing"]), 0
        steps.append(parts["absent"])
    elif not sentence:
        kind, answer, number = "silent", str(parts["nothing"]), 0
        steps.append(parts["silent"].format(fact=parts["attributes"][attribute]["fact"]))
    else:
        steps.append(sentence)
    return Task(
        language=asked.language,
        kind=kind,
        notes=tuple(notes),
        headed=tuple(headed),
        question=question,
        thinking=" ".join(steps),
        answer=answer,
        number=number,
        sentence=sentence,
    )


def _kept_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % _HELD_OUT_ONE_IN == 0
