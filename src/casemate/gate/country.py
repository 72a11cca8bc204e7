"""Country packs: label policy, languages, authorities, duties and dates of one country.

A pack is data (``casemate/countries/<id>/pack.toml``). It is checked as a whole when it is loaded:
a pack with a hole is refused by name, never half used.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Self

import msgspec

from casemate.errors import Invalid
from casemate.gate.label import Exchange, Label, LabelPolicy, Level
from casemate.gate.scale import Scale, holes
from casemate.gate.screening import Question
from casemate.isolation import LAYERS
from casemate.language.thesaurus import Thesaurus

RETENTION_FLOOR_DAYS = 183  # six months; a country may ask for more and never for less
"""How long the logs of an AI system are kept at least: AI Act, Articles 19(1) and 26(6)."""


class Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An authority and the law that makes it one."""

    id: str
    name: str
    competence: str
    basis: str


class Duty(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """A duty under the AI Act, Regulation (EU) 2024/1689: its article and first day.

    basis: what sets that day, where it is not Article 113 as it was first published.
    """

    id: str
    article: str
    since: datetime.date
    who: str
    text: str
    basis: str = ""


@dataclass(frozen=True)
class Country:
    """One country pack, checked."""

    id: str
    name: Mapping[str, str]  # by language
    languages: tuple[str, ...]
    policy: LabelPolicy  # its own; ``policy.scale`` has the others whose labels are understood
    time_zone: str  # IANA name; the machine's own time zone data give it meaning
    authorities: tuple[Authority, ...]
    duties: tuple[Duty, ...]
    questions: tuple[Question, ...]  # about practices that the AI Act prohibits
    retention_floor_days: int
    keep_content_days: int  # how long content is kept even from a person's wish to be forgotten
    label_review_years: int = 5  # after which a label is looked at again, if nobody says when

    @classmethod
    def load(cls, id: str) -> Self:
        """The shipped pack called ``id``.

        Raises Invalid if there is none of that name, or naming the hole in it.
        """
        if not re.fullmatch(r"[a-z]{2,8}", id):
            raise Invalid(f"{id[:40]!r} is not the name of a country pack.", _LIST)
        file = resources.files("casemate.countries").joinpath(id, "pack.toml")
        try:
            content = file.read_bytes()
        except OSError:
            raise Invalid(f"There is no country pack {id!r}.", _LIST) from None
        return cls.parse(content, id)

    @classmethod
    def parse(cls, content: bytes, id: str) -> Self:
        """The pack ``content`` (TOML), which must call itself ``id``. Raises Invalid."""
        try:
            pack = msgspec.toml.decode(content, type=_Pack)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise Invalid(f"Country pack {id!r} is not usable: {problem}.", _REPAIR) from None
        found = list(_holes(pack, id)) or list(_holes_between(pack))
        if found:
            raise Invalid(f"Country pack {id!r} has holes: {'; '.join(found)}.", _REPAIR)
        return cls(
            pack.id,
            MappingProxyType(pack.name),
            tuple(pack.languages),
            _joined(pack),
            pack.time_zone,
            tuple(pack.authority),
            tuple(pack.duty),
            tuple(pack.question),
            pack.retention_floor_days,
            pack.keep_content_days,
            pack.label_review_years,
        )

    def isolation(self, label: Label) -> frozenset[str]:
        """The layers that must lie around a model process that sees ``label``.

        Those of its level and of every lower one, of whatever policy. Of a label that is not on
        this country's scale: all there are.
        """
        scale = self.policy.scale
        if label.policy.scale != scale:
            return frozenset(LAYERS)
        return frozenset().union(
            *(
                level.isolation
                for policy in scale.policies.values()
                for level in policy.levels
                if scale.height(policy.id, level.id) <= label.height
            )
        )

    def review(self, created: datetime.datetime) -> datetime.datetime:
        """When a label given at ``created`` is to be looked at again, if nobody said when."""
        leap = (created.month, created.day) == (2, 29)
        day = 28 if leap else created.day  # not every year has the 29th of February
        return created.replace(year=created.year + self.label_review_years, day=day)

    def thesaurus(self) -> Thesaurus:
        """The pack's thesaurus, read on first use; an empty one if it ships none.

        Raises Invalid if it is damaged.
        """
        return _thesaurus(self.id)


@cache
def _thesaurus(id: str) -> Thesaurus:
    file = resources.files("casemate.countries").joinpath(id, "thesaurus.tsv")
    if not file.is_file():
        return Thesaurus()
    try:
        return Thesaurus.parse(file.read_bytes())
    except ValueError:
        raise Invalid(f"The thesaurus of country pack {id!r} is not usable.", _REPAIR) from None


_LIST = "Casemate ships: lu."
_REPAIR = "Repair the pack, or choose another in the setting `country`."


class _Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    marking: str | dict[str, str]  # one legal word for every language, or a word for each
    name: dict[str, str]
    isolation: list[str] = []  # layers around a model process that sees this level


class _Exchange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identifier: str
    uri: str | None = None
    context: str | None = None
    sensitivity: str = "Need To Know"


class _Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    default: str
    home: str
    release_words: dict[str, str]
    level: list[_Level]
    binds: bool = False
    exchange: _Exchange | None = None


class _Pack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    languages: list[str]
    time_zone: str
    retention_floor_days: int
    name: dict[str, str]
    policy: _Policy
    authority: list[Authority]
    duty: list[Duty]
    question: list[Question]
    keep_content_days: int = 0
    label_review_years: int = 5
    other: list[_Policy] = []  # policies whose labels are understood as well
    equivalences: list[list[str]] = []  # rungs, lowest first; none where there is one policy
    communities: dict[str, str] = {}  # three-letter codes by the two-letter ones


def _joined(pack: _Pack) -> LabelPolicy:
    """The country's own policy, on one scale with the others of its pack."""
    policies, rungs = _parts(pack)
    scale = Scale(policies, rungs, pack.communities)
    for policy in policies:
        policy.standing_on(scale)
    return policies[0]


def _parts(pack: _Pack) -> tuple[tuple[LabelPolicy, ...], list[list[str]]]:
    policies = tuple(_policy(one, pack.languages) for one in (pack.policy, *pack.other))
    alone = [[f"{pack.policy.id}:{level.id}"] for level in pack.policy.level]
    return policies, pack.equivalences or alone


def _policy(policy: _Policy, languages: Iterable[str]) -> LabelPolicy:
    levels = tuple(
        Level(
            level.id,
            MappingProxyType(
                dict.fromkeys(languages, level.marking)
                if isinstance(level.marking, str)
                else level.marking
            ),
            MappingProxyType(level.name),
            frozenset(level.isolation),
        )
        for level in policy.level
    )
    words = MappingProxyType(policy.release_words)
    own = policy.exchange
    exchange = None if own is None else Exchange(**msgspec.structs.asdict(own))
    return LabelPolicy(
        policy.id, levels, policy.default, policy.home, words, policy.binds, exchange
    )


def _holes_between(pack: _Pack) -> Iterable[str]:
    """Holes between policies that have none in themselves."""
    if pack.policy.binds:
        yield f"policy {pack.policy.id!r} is the country's own and cannot bind"
    yield from holes(*_parts(pack))


def _holes(pack: _Pack, id: str) -> Iterable[str]:
    if pack.id != id:
        yield f"it calls itself {pack.id!r}"
    if "en" not in pack.languages:
        yield "languages lack en, which every text falls back to"
    yield from _untranslated("name", pack.name, pack.languages)
    for kind, ids in (
        ("language", pack.languages),
        ("authority", [authority.id for authority in pack.authority]),
        ("duty", [duty.id for duty in pack.duty]),
        ("policy", [policy.id for policy in (pack.policy, *pack.other)]),
        ("three-letter code", list(pack.communities.values())),
    ):
        for twice in sorted({one for one in ids if ids.count(one) > 1}):
            yield f"{kind} {twice!r} is there twice"
    yield from _unasked(pack)
    yield from _holes_of(pack.policy, pack.languages)
    for policy in pack.other:
        yield from (f"policy {policy.id!r}: {hole}" for hole in _holes_of(policy, pack.languages))
    for code in (*pack.communities, *pack.communities.values()):
        if not re.fullmatch(r"[A-Z]{2,8}", code):
            yield f"{code!r} is not a community code"
    if pack.retention_floor_days < RETENTION_FLOOR_DAYS:
        yield f"retention_floor_days is below {RETENTION_FLOOR_DAYS} (AI Act, Article 26(6))"
    if not 1 <= pack.label_review_years <= 100:
        yield "label_review_years is not from 1 to 100"
    if pack.keep_content_days < 0:
        yield "keep_content_days is below 0"
    # Only its form: a small machine has no time zone data, and need not have any to start.
    if not re.fullmatch(r"[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_-]+)+", pack.time_zone):
        yield f"time_zone {pack.time_zone!r} is not an IANA name"


def _unasked(pack: _Pack) -> Iterable[str]:
    # Without questions everything would pass the screening.
    if not pack.question:
        yield "there is no question about prohibited practices (AI Act, Article 5)"
    versions = [(one.id, one.version) for one in pack.question]
    for id, version in sorted({one for one in versions if versions.count(one) > 1}):
        yield f"version {version} of question {id!r} is there twice"
    for question in pack.question:
        if question.version < 1:
            yield f"question {question.id!r} has a version below 1"
        yield from _untranslated(f"text of question {question.id!r}", question.text, pack.languages)


def _holes_of(policy: _Policy, languages: list[str]) -> Iterable[str]:
    """Holes in one policy."""
    yield from _untranslated("policy.release_words", policy.release_words, languages)
    ids = [level.id for level in policy.level]
    for twice in sorted({one for one in ids if ids.count(one) > 1}):
        yield f"level {twice!r} is there twice"
    for level in policy.level:
        yield from _holes_in(level, languages)
    if policy.default not in ids:
        yield f"default level {policy.default!r} is unknown"
    if not re.fullmatch(r"[a-z][a-z0-9-]*", policy.id):
        yield f"policy id {policy.id!r} is not lower-case letters, digits and hyphens"
    if not re.fullmatch(r"[A-Z]{2,8}", policy.home):
        yield f"home {policy.home!r} is not a community code"


def _holes_in(level: _Level, languages: list[str]) -> Iterable[str]:
    """Holes in one level."""
    if not re.fullmatch(r"[a-z](?:[a-z0-9-]*[a-z0-9])?", level.id):
        yield f"level id {level.id!r} is not lower-case letters, digits and hyphens"
    yield from _untranslated(f"name of level {level.id!r}", level.name, languages)
    for layer in sorted({*level.isolation} - {*LAYERS}):
        yield f"isolation layer {layer!r} of level {level.id!r} is unknown"
    if isinstance(level.marking, dict):
        yield from _untranslated(f"marking of level {level.id!r}", level.marking, languages)
    elif not level.marking.strip():
        yield f"marking of level {level.id!r} is empty"


def _untranslated(what: str, words: Mapping[str, str], languages: Iterable[str]) -> Iterable[str]:
    for language in languages:
        if not words.get(language, "").strip():
            yield f"{what} lacks {language}"
