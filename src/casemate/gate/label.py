"""Labels: how sensitive a piece of information is, and who may therefore read it.

A label is a policy, a level, compartments (need to know) and releasability. Labels form a lattice
(Denning, "A Lattice Model of Secure Information Flow", CACM 19(5), 1976): higher means fewer
people. A clearance is a label too: its releasability says who the person is.

Levels of several policies compare by their equivalences (see ``scale``). Of a policy that binds,
such as NATO's, its people alone may read: a mixture keeps its name behind a ``+``, and so does the
clearance of somebody briefed for it. Its compartments carry its name as well: ``nato.atomal``.

Text form, canonical and safe in a shell::

    lu:unclassified    lu:secret/alpha,beta    lu:restricted//rel=FR,LU    …//rel=none
    nato:secret/nato.atomal    lu:secret+eu+nato
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from casemate.errors import Invalid, Refused
from casemate.gate.scale import Scale

_FORM = re.compile(r"(?:([^:/]*):)?([^:/+]*)((?:\+[^:/+]*)*)(?:/([^/]*))?(?://rel=([^/]*))?")
_COMPARTMENT = re.compile(r"(?:([a-z][a-z0-9-]{0,30})\.)?[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_COMMUNITY = re.compile(r"[A-Z]{2,8}")  # ISO 3166 code, or an organisation: EU, NATO
_NOBODY = "none"  # lower case, so no community can be called that
_REMEMBERED = 4096  # labels that were read from text
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

    @property
    def classification(self) -> str:
        """How labels that travel say it: TOP SECRET."""
        return self.id.replace("-", " ").upper()


@dataclass(frozen=True)
class Exchange:
    """How a policy is called in labels that travel (STANAG 4774).

    identifier: the policy. uri: its ``urn:oid:…``. context: whose information it is, where the
    policy wants that said. sensitivity: the tag of its own compartments.
    """

    identifier: str
    uri: str | None = None
    context: str | None = None
    sensitivity: str = "Need To Know"


@dataclass(frozen=True, eq=False)
class LabelPolicy:
    """The levels of one country or organisation, lowest first. Equal when their ids are.

    binds: only people briefed for it may read its information. scale: the policies whose levels
    compare with its own; it alone until a ``Scale`` takes it in.
    """

    id: str
    levels: tuple[Level, ...]
    default: str  # level of what nobody labelled
    home: str  # the community of the policy's own people, e.g. LU
    release_words: Mapping[str, str]  # by language, before the communities
    binds: bool = False
    exchange: Exchange | None = None
    scale: Scale = field(init=False, repr=False)
    _parsed: Callable[[str], Label] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.standing_on(Scale((self,), [[f"{self.id}:{level.id}"] for level in self.levels]))

    def standing_on(self, scale: Scale) -> None:
        """Let ``scale`` say how its levels compare: for who joins policies, before any label."""
        object.__setattr__(self, "scale", scale)
        # The same few texts are read for every collection at every question.
        object.__setattr__(self, "_parsed", lru_cache(maxsize=_REMEMBERED)(self._parse))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelPolicy) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def parse(self, text: str) -> Label:
        """The label that ``text`` spells, of any policy of the scale; a bare level is of this one.

        Raises Invalid naming the part that is wrong.
        """
        return self._parsed(text)

    def _parse(self, text: str) -> Label:
        form = _FORM.fullmatch(text) if len(text) <= 4096 else None
        if form is None:
            raise Invalid("That is not a label.", self._advice())
        policy, level, also, compartments, communities = form.groups()
        label = Label(
            self if policy is None else self._known(policy),
            level,
            frozenset() if compartments is None else _parts(compartments, "compartment"),
            None if communities is None else _communities(communities),
            _parts(also[1:].replace("+", ","), "policy") if also else frozenset(),
        )
        for community in label.releasable_to or ():
            if community in self.scale.aliases.values():
                short = {long: short for short, long in self.scale.aliases.items()}[community]
                raise Invalid(
                    f"Community {community!r} is written {short} here.", f"Write {short}."
                )
        return label

    def _known(self, id: str) -> LabelPolicy:
        found = self.scale.policies.get(id)
        if found is None:
            raise Invalid(
                f"Label policy {id[:40]!r} is not one used here.",
                f"Labels here begin with {', '.join(f'{one}:' for one in self.scale.policies)}",
            )
        return found

    def knows(self, text: str | None) -> bool:
        """Whether ``text``, as it is stored, is a label here."""
        try:
            return text is not None and self.parse(text) is not None
        except Invalid:
            return False

    def readable(self, text: str | None, clearance: Label) -> bool:
        """Whether ``clearance`` covers what is stored under the label ``text``.

        What has no label, or one that means nothing here, is above everybody.
        """
        try:
            return text is not None and clearance.dominates(self.parse(text))
        except Invalid:
            return False

    def lowest(self) -> Label:
        """The label that everything of this policy dominates."""
        return self.parse(self.levels[0].id)

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


@dataclass(frozen=True, eq=False)
class Label:
    """A classification, or a clearance. Cannot exist with an unknown level or a bad part.

    ``also``: policies that bind, beside its own, whose information is in it. Two labels are equal
    when they mean the same: ``eu:restricted`` and ``lu:restricted+eu``. Each keeps its spelling.
    """

    policy: LabelPolicy
    level: str
    compartments: frozenset[str] = frozenset()
    releasable_to: frozenset[str] | None = None  # None: no restriction; empty: nobody
    also: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.policy.rank(self.level)
        for id in self.also:
            known = self.policy.scale.policies.get(id)
            if known is None or not known.binds or known == self.policy:
                raise Invalid(
                    f"{id[:40]!r} cannot stand behind a + in this label.", self._binding()
                )
        for part in self.compartments:
            _check(part, _COMPARTMENT, "compartment")
            owner = part.rpartition(".")[0]
            if owner and owner not in self.needs:
                raise Invalid(
                    f"Compartment {part!r} is of a policy that this label does not name.",
                    "Name the policy as well, for instance nato:secret/nato.atomal.",
                )
        for part in self.releasable_to or ():
            _check(part, _COMMUNITY, "community")

    def __str__(self) -> str:
        return self._written

    @cached_property
    def _written(self) -> str:
        text = f"{self.policy.id}:{self.level}"
        text += "".join(f"+{id}" for id in sorted(self.also))
        if self.compartments:
            text += "/" + ",".join(sorted(self.compartments))
        if self.releasable_to is not None:
            text += "//rel=" + (",".join(sorted(self.releasable_to)) or _NOBODY)
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Label) and (
            self.policy.scale == other.policy.scale and self._meaning() == other._meaning()
        )

    def __hash__(self) -> int:
        return hash(self._meaning())

    @cached_property
    def height(self) -> int:
        """Its rung on the scale, lowest 0: for ordering, never for storage."""
        return self.policy.scale.height(self.policy.id, self.level)

    @cached_property
    def needs(self) -> frozenset[str]:
        """The policies that bind for which one has to be briefed to read it."""
        return self.also | {self.policy.id} if self.policy.binds else self.also

    def dominates(self, other: Label) -> bool:
        """Whether who is cleared for ``self`` may read ``other``. False across scales."""
        return (
            self.policy.scale == other.policy.scale
            and other.height <= self.height
            and other.needs <= self.needs
            and other.compartments <= self.compartments
            and (
                other.releasable_to is None
                or (self.releasable_to is not None and self.releasable_to <= other.releasable_to)
            )
        )

    def join(self, other: Label) -> Label:
        """The lowest label that dominates both: what a mixture of the two is worth.

        Raises Refused for labels whose policies no equivalences join.
        """
        if self is other or (self.policy is other.policy and self._written == other._written):
            return self
        self._require_comparable(other)
        mine, theirs = self.releasable_to, other.releasable_to
        # Of two that are as high, the spelling of the policy that comes first: both ways alike.
        policy, level = min(
            ((one.policy, one.level) for one in (self, other)),
            key=lambda one: (
                -one[0].scale.height(one[0].id, one[1]),
                one[0].scale.place(one[0].id),
            ),
        )
        return Label(
            policy,
            level,
            self.compartments | other.compartments,
            theirs if mine is None else mine if theirs is None else mine & theirs,
            (self.needs | other.needs) - {policy.id},
        )

    def meet(self, other: Label) -> Label:
        """The highest label that both dominate: what is left of a clearance under a ceiling.

        Raises Refused for labels whose policies no equivalences join.
        """
        self._require_comparable(other)
        mine, theirs = self.releasable_to, other.releasable_to
        lower = min(
            self, other, key=lambda one: (one.height, one.policy.scale.place(one.policy.id))
        )
        needs = self.needs & other.needs
        policy, level = lower.policy, lower.level
        if policy.binds and policy.id not in needs:
            policy, level = policy.scale.spelling(lower.height, needs)
        return Label(
            policy,
            level,
            self.compartments & other.compartments,
            None if mine is None or theirs is None else mine | theirs,
            needs - {policy.id},
        )

    def marking(self, language: str = "en") -> str:
        """What people see on a page: "RESTREINT LUX // ALPHA // REL TO LU, FR"."""
        words = self.policy.level(self.level).marking
        parts = [words.get(language) or words["en"]]
        if self.also:
            parts.append(", ".join(sorted(self.also)).upper())
        if self.compartments:
            own = f"{self.policy.id}."
            shown = sorted(part.removeprefix(own) for part in self.compartments)
            parts.append(", ".join(shown).upper())
        if self.releasable_to is not None:
            release = self.policy.release_words
            # One's own country first: so do people write it, and it is what they look for.
            order = sorted(self.releasable_to, key=lambda code: (code != self.policy.home, code))
            parts.append(f"{release.get(language) or release['en']} {', '.join(order) or '—'}")
        return " // ".join(parts)

    def _meaning(self) -> tuple[object, ...]:
        return self.height, self.needs, self.compartments, self.releasable_to

    def _binding(self) -> str:
        binding = [one.id for one in self.policy.scale.policies.values() if one.binds]
        return f"These can: {', '.join(binding)}." if binding else "No policy here can."

    def _require_comparable(self, other: Label) -> None:
        if self.policy.scale != other.policy.scale:
            raise Refused(
                f"Labels of policies {self.policy.id} and {other.policy.id} cannot be combined.",
                "Keep them apart, or label both under one policy.",
            )


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
        if kind != "policy":
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
