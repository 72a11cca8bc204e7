"""Use cases: the registered purposes for which AI may be used. No use case, no inference.

A use case is an AI system in the sense of Regulation (EU) 2024/1689 (AI Act): it has a purpose, a
legal basis, a risk class and human oversight. ``Terms`` are what a second person approves;
``gate.register`` keeps them in versions and moves a use case through its life.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from casemate.errors import Invalid, Refused, Unsupported
from casemate.gate.acts import digest
from casemate.gate.country import RETENTION_FLOOR_DAYS
from casemate.gate.hours import Hours
from casemate.gate.label import Label
from casemate.gate.policy import Resource

if TYPE_CHECKING:
    from casemate.gate.country import Country

RISKS = ("minimal", "limited", "high")
OVERSIGHT = ("none", "after")
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LONGEST_RETENTION = 36_525  # days, a century
_QUOTA = re.compile(r"runs|(?:tokens|requests|gpu_seconds|watt_hours)/(?:minute|day|month)")
_LARGEST_QUOTA = 10**15


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a use case is approved for: change any of it, and it has to be approved again."""

    purpose: str
    legal_basis: str
    risk: str
    models: tuple[str, ...]
    collections: tuple[str, ...] | None = None  # ids; None: every collection the asker may read
    ceiling: Label
    oversight: str
    retention_days: int
    hours: Hours | None = None  # None: always open
    quota: tuple[tuple[str, int], ...] = ()  # "tokens/day" → amount, sorted

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "purpose": self.purpose,
            "legal_basis": self.legal_basis,
            "risk": self.risk,
            "models": list(self.models),
            "collections": None if self.collections is None else list(self.collections),
            "ceiling": str(self.ceiling),
            "oversight": self.oversight,
            "retention_days": self.retention_days,
            "hours": None if self.hours is None else str(self.hours),
            "quota": dict(self.quota) or None,
        }


@dataclass(frozen=True, kw_only=True)
class UseCase(Terms):
    """One registered purpose, in the version that is in force or was registered first."""

    id: str
    tenant: str
    owner: str  # id of the principal who answers for it
    state: str
    version: int = 1
    pending: int | None = None  # a version that waits for a second person
    proposed_by: str  # id of the principal who made this version

    @property
    def terms(self) -> Terms:
        """What was approved."""
        return Terms(**{name: getattr(self, name) for name in Terms.__dataclass_fields__})

    def under(self, terms: Terms, **more: Any) -> UseCase:
        """The same use case with other terms."""
        plain = {name: getattr(terms, name) for name in Terms.__dataclass_fields__}
        return replace(self, **plain, **more)

    def resource(self) -> Resource:
        """What policies see of it."""
        return Resource("UseCase", self.id, self.tenant, self.owner)

    def digest(self) -> str:
        """Of all that it is, as entries of the ledger name it."""
        facts: dict[str, Any] = {"id": self.id, "tenant": self.tenant, "owner": self.owner}
        facts |= {"state": self.state, "version": self.version, "proposed_by": self.proposed_by}
        return digest(facts | self.plain())


def parsed(country: Country, plain: Mapping[str, Any]) -> Terms:
    """Terms as the database keeps them, see ``Terms.plain``."""
    hours = plain["hours"]
    named = plain["collections"]
    return Terms(
        purpose=plain["purpose"],
        legal_basis=plain["legal_basis"],
        risk=plain["risk"],
        models=tuple(plain["models"]),
        collections=None if named is None else tuple(named),
        ceiling=country.policy.parse(plain["ceiling"]),
        oversight=plain["oversight"],
        retention_days=plain["retention_days"],
        hours=None if hours is None else Hours.parse(hours, country.time_zone),
        quota=quota(plain["quota"] or {}),
    )


def quota(amounts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Amounts by measure and window, e.g. {"tokens/day": 200000, "runs": 4}. Raises Invalid.

    What they mean and how they are counted is the matter of ``gate.quota``.
    """
    for name, amount in amounts.items():
        if not _QUOTA.fullmatch(name):
            raise Invalid(
                f"There is no quota {name[:40]!r}.",
                "Name runs, or tokens, requests, gpu_seconds or watt_hours with /minute, /day or "
                "/month.",
            )
        if isinstance(amount, bool) or not isinstance(amount, int):
            raise Invalid(f"The quota {name!r} is no whole number.", "Give one from 0 on.")
        if not 0 <= amount <= _LARGEST_QUOTA:
            raise Invalid(f"The quota {name!r} is out of bounds.", "Give a number from 0 on.")
    return tuple(sorted(amounts.items()))


def quota_of(texts: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Quotas as a command line gives them: ``tokens/day=200000``. Raises Invalid."""
    amounts: dict[str, int] = {}
    for text in texts:
        name, _, amount = text.partition("=")
        if not re.fullmatch(r"[0-9]{1,16}", amount):
            raise Invalid(f"{text[:60]!r} is no quota.", "Write, for instance, tokens/day=200000.")
        amounts[name] = int(amount)
    return quota(amounts)


def is_id(text: str) -> bool:
    """Whether ``text`` can be the id of a use case."""
    return _ID.fullmatch(text) is not None


def is_text(text: str) -> bool:
    """Whether ``text`` says something and can be stored."""
    return 1 <= len(text) <= 4000 and not any("\ud800" <= sign <= "\udfff" for sign in text)


def check(id: str, terms: Terms, country: Country) -> None:
    """Raise Invalid for terms that cannot be, Refused for a prohibited risk, or Unsupported."""
    if terms.risk == "prohibited":
        raise Refused(
            "Prohibited practices are not registered here (AI Act, Article 5).",
            "Do not use AI for this purpose.",
        )
    if terms.oversight == "before":
        raise Unsupported(
            "Oversight “before” is not built yet: no answer is held back for a review.",
            "Use “after”, with which people review what was answered, or “none”.",
        )
    # A rule in code: no pack and no setting goes below it.
    floor = max(RETENTION_FLOOR_DAYS, country.retention_floor_days)
    for wrong, what, advice in (
        (not is_id(id), "That cannot be the id of a use case.",
         "Give lower-case letters, digits and hyphens, at most 64."),
        (not is_text(terms.purpose), "A use case needs a purpose.",
         "Say in a sentence or two what it is for."),
        (not is_text(terms.legal_basis), "A use case needs a legal basis.",
         "Name the law or the task that it serves."),
        (terms.risk not in RISKS, f"There is no risk class {terms.risk[:40]!r}.",
         f"There are: {', '.join(RISKS)}."),
        (terms.oversight not in OVERSIGHT, f"There is no oversight {terms.oversight[:40]!r}.",
         f"There are: {', '.join(OVERSIGHT)}."),
        (terms.risk == "high" and terms.oversight == "none",
         "A high-risk use case needs a person's oversight (AI Act, Article 26(2)).",
         "Choose oversight after: people review its runs."),
        (not terms.models, "A use case needs a model.", "Name at least one, e.g. quote."),
        (len(set(terms.models)) != len(terms.models), "A model is named twice.",
         "Name each once."),
        (terms.ceiling.policy.scale != country.policy.scale,
         f"A ceiling here is of a label policy of country pack {country.id}.",
         "Give one of its levels."),
        (not floor <= terms.retention_days <= _LONGEST_RETENTION,
         f"Use case {id} would keep its records for {terms.retention_days} days; the "
         f"law asks for {floor} to {_LONGEST_RETENTION} (AI Act, Articles 19(1) and 26(6)).",
         f"Give at least {floor} days."),
    ):  # fmt: skip
        if wrong:
            raise Invalid(what, advice)


def canonical(terms: Terms) -> str:
    """Terms as one text, the same for the same terms."""
    return json.dumps(terms.plain(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
