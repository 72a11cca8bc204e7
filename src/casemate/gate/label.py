"""Labels: how sensitive a piece of information is, and who may therefore read it.

A label is a policy, a level, compartments (need to know) and releasability. Labels of one policy
form a lattice (Denning, "A Lattice Model of Secure Information Flow", CACM 19(5), 1976): higher
means fewer people. A clearance is a label too: its releasability says who the person is.

Text form, canonical and safe in a shell::

    lu:unclassified      lu:secret/alpha,beta      lu:restricted//rel=FR,LU      …//rel=none
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from casemate.errors import Invalid, Refused

_FORM = re.compile(r"(?:([^:/]*):)?([^:/]*)(?:/([^/]*))?(?://rel=([^/]*))?")
_COMPARTMENT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_COMMUNITY = re.compile(r"[A-Z]{2,8}")  # ISO 3166 code, or an organisation: EU, NATO
_NOBODY = "none"  # lower case, so no community can be called that
_MOST = 64  # compartments or communities in one label


@dataclass(frozen=True)
class Level:
    """One level of a policy. ``marking`` is the legal word; ``names`` explain it by language.

    ``isolation``: layers that the kernel must put around a model process that sees it.
    """

    id: str
    marking: Mapping[str, str]
    names: Mapping[str, str]
    isolation: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class LabelPolicy:
    """The levels of one country or organisation, lowest first. Equal when their ids are."""

    id: str
    levels: tuple[Level, ...]
    default: str  # level of what nobody labelled
    home: str  # the community of the policy's own people, e.g. LU
    release_words: Mapping[str, str]  # by language, before the communities

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelPolicy) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def parse(self, text: str) -> Label:
        """The label that ``text`` spells; a bare level belongs to this policy.

        Raises Invalid naming the part that is wrong.
        """
        form = _FORM.fullmatch(text) if len(text) <= 4096 else None
        if form is None:
            raise Invalid("That is not a label.", self._advice())
        policy, level, compartments, communities = form.groups()
        if policy is not None and policy != self.id:
            raise Invalid(
                f"Label policy {policy[:40]!r} is not the one used here.",
                f"Labels here begin with {self.id}:",
            )
        return Label(
            self,
            level,
            frozenset() if compartments is None else _parts(compartments, "compartment"),
            None if communities is None else _communities(communities),
        )

    def lowest(self) -> Label:
        """The label that everything of this policy dominates."""
        return Label(self, self.levels[0].id)

    def standard(self) -> Label:
        """The label of what nobody labelled."""
        return Label(self, self.default)

    def level(self, id: str) -> Level:
        """The level called ``id``. Raises Invalid, listing the levels there are."""
        return self.levels[self.rank(id)]

    def rank(self, id: str) -> int:
        """Position of a level, lowest 0: for ordering inside this policy, never for storage."""
        for position, level in enumerate(self.levels):
            if level.id == id:
                return position
        raise Invalid(f"There is no level {id[:40]!r} in label policy {self.id}.", self._advice())

    def _advice(self) -> str:
        return (
            f"Levels: {', '.join(level.id for level in self.levels)}. Full form: "
            f"{self.id}:LEVEL/compartment,…//rel=COMMUNITY,…"
        )


@dataclass(frozen=True)
class Label:
    """A classification, or a clearance. Cannot exist with an unknown level or a bad part."""

    policy: LabelPolicy
    level: str
    compartments: frozenset[str] = frozenset()
    releasable_to: frozenset[str] | None = None  # None: no restriction; empty: nobody

    def __post_init__(self) -> None:
        self.policy.rank(self.level)
        for part in self.compartments:
            _check(part, _COMPARTMENT, "compartment")
        for part in self.releasable_to or ():
            _check(part, _COMMUNITY, "community")

    def __str__(self) -> str:
        text = f"{self.policy.id}:{self.level}"
        if self.compartments:
            text += "/" + ",".join(sorted(self.compartments))
        if self.releasable_to is not None:
            text += "//rel=" + (",".join(sorted(self.releasable_to)) or _NOBODY)
        return text

    def dominates(self, other: Label) -> bool:
        """Whether who is cleared for ``self`` may read ``other``. False across policies."""
        return (
            self.policy == other.policy
            and self.policy.rank(other.level) <= self.policy.rank(self.level)
            and other.compartments <= self.compartments
            and (
                other.releasable_to is None
                or (self.releasable_to is not None and self.releasable_to <= other.releasable_to)
            )
        )

    def join(self, other: Label) -> Label:
        """The lowest label that dominates both: what a mixture of the two is worth.

        Raises Refused across policies.
        """
        mine, theirs = self.releasable_to, other.releasable_to
        both = theirs if mine is None else mine if theirs is None else mine & theirs
        return Label(
            self.policy,
            max(self.level, self._comparable(other), key=self.policy.rank),
            self.compartments | other.compartments,
            both,
        )

    def meet(self, other: Label) -> Label:
        """The highest label that both dominate: what is left of a clearance under a ceiling.

        Raises Refused across policies.
        """
        mine, theirs = self.releasable_to, other.releasable_to
        return Label(
            self.policy,
            min(self.level, self._comparable(other), key=self.policy.rank),
            self.compartments & other.compartments,
            None if mine is None or theirs is None else mine | theirs,
        )

    def marking(self, language: str = "en") -> str:
        """What people see on a page: "RESTREINT LUX // ALPHA // REL TO LU, FR"."""
        words = self.policy.level(self.level).marking
        parts = [words.get(language) or words["en"]]
        if self.compartments:
            parts.append(", ".join(sorted(self.compartments)).upper())
        if self.releasable_to is not None:
            release = self.policy.release_words
            # One's own country first: so do people write it, and it is what they look for.
            order = sorted(self.releasable_to, key=lambda code: (code != self.policy.home, code))
            parts.append(f"{release.get(language) or release['en']} {', '.join(order) or '—'}")
        return " // ".join(parts)

    def _comparable(self, other: Label) -> str:
        if self.policy != other.policy:
            raise Refused(
                f"Labels of policies {self.policy.id} and {other.policy.id} cannot be combined.",
                "Keep them apart, or label both under one policy.",
            )
        return other.level


def clearance(label: Label) -> Label:
    """``label`` as a person's clearance.

    Raises Invalid if it is releasable to nobody: nobody is a subset of everybody, so such a
    clearance would pass every releasability check.
    """
    if label.releasable_to is not None and not label.releasable_to:
        raise Invalid(
            "A clearance cannot be releasable to nobody.",
            f"Say who the person is, for instance //rel={label.policy.home}, or leave it out.",
        )
    return label


def _communities(text: str) -> frozenset[str]:
    return frozenset() if text == _NOBODY else _parts(text, "community")


def _parts(text: str, kind: str) -> frozenset[str]:
    parts = text.split(",")
    if len(parts) > _MOST:
        raise Invalid(f"A label names more than {_MOST} parts.", "Give fewer.")
    for part in parts:
        _check(part, _COMMUNITY if kind == "community" else _COMPARTMENT, kind)
        if parts.count(part) > 1:
            raise Invalid(f"A label names {kind} {part!r} twice.", "Name it once.")
    return frozenset(parts)


def _check(part: str, form: re.Pattern[str], kind: str) -> None:
    if not form.fullmatch(part):
        raise Invalid(
            f"{part[:40]!r} is not a {kind} of a label.",
            "Communities are 2 to 8 capital letters, for instance LU or NATO."
            if kind == "community"
            else "Compartments are lower-case letters, digits and hyphens, for instance alpha-2.",
        )
