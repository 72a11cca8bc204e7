"""Confidentiality labels that travel: a label with its originator and dates, as XML.

Format: NATO STANAG 4774, ADatP-4774 Edition A Version 1, ``originatorConfidentialityLabel``.

=====================  ========================================================================
ours                   theirs
=====================  ========================================================================
policy, level          PolicyIdentifier, Classification
releasability          Category "Releasable To", PERMISSIVE, three-letter codes; empty: nobody
compartments           Category "Need To Know", RESTRICTIVE; of a policy that binds, its own tag
policies behind a +    Category "Briefed For", RESTRICTIVE
=====================  ========================================================================

What cannot be honoured is refused by name: another RESTRICTIVE or PERMISSIVE category, and a
SuccessionHandling, which would lower a label without anybody deciding it. INFORMATIVE categories
and a PrivacyMark permit nothing and forbid nothing; they are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from xml.sax.saxutils import escape, quoteattr

from casemate.errors import Invalid
from casemate.gate.element import Element, parse_xml
from casemate.gate.label import Exchange, Label, LabelPolicy

NAMESPACE = "urn:nato:stanag:4774:confidentialitymetadatalabel:1:0"
MEDIA_TYPE = "application/xml"
LARGEST = 64 * 1024  # bytes
ORIGINATOR_KINDS = (
    *("rfc822Name", "dNSName", "directoryName", "uniformResourceIdentifier"),
    *("iPAddress", "x400Address", "userPrincipalName", "jID"),
)
_RELEASE, _NEED, _BRIEFED, _CONTEXT = "Releasable To", "Need To Know", "Briefed For", "Context"
_NATO_CONTEXT_URI = "urn:oid:1.3.26.1.4.4"
_ROOTS = ("originatorConfidentialityLabel", "ConfidentialityLabel")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)")
_ADVICE = "Ask whoever made it for a label as ADatP-4774 describes it."


@dataclass(frozen=True)
class Originator:
    """Who gave a label: the kind of name (ADatP-4774, Table 9) and the name."""

    kind: str
    name: str

    def __post_init__(self) -> None:
        if self.kind not in ORIGINATOR_KINDS:
            raise Invalid(
                f"{self.kind[:40]!r} is no kind of originator.",
                f"There are: {', '.join(ORIGINATOR_KINDS)}.",
            )
        if not 1 <= len(self.name) <= 256 or not self.name.isprintable():
            raise Invalid(
                "The name of the originator cannot be shown.", "Give 1 to 256 printable characters."
            )
        if self.name != " ".join(self.name.split()):
            raise Invalid("The name of the originator has spaces at its ends.", "Leave them out.")

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "kind:name". Raises Invalid."""
        kind, _, name = text.partition(":")
        return cls(kind, name)


@dataclass(frozen=True)
class Confidentiality:
    """A label, who gave it, when, and when to look at it again. Times are to the second, UTC."""

    label: Label
    created: datetime
    review: datetime | None = None
    originator: Originator | None = None

    def xml(self) -> bytes:
        """As ADatP-4774 XML. Raises Invalid for a policy that has no name in such labels."""
        policy = self.label.policy
        exchange = policy.exchange
        if exchange is None:
            raise Invalid(
                f"Labels of policy {policy.id} have no form that travels.",
                "The country pack says how a policy is called: exchange.identifier.",
            )
        uri = "" if exchange.uri is None else f" URI={quoteattr(exchange.uri)}"
        review = "" if self.review is None else f' ReviewDateTime="{_stamp(self.review)}"'
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<s4774:originatorConfidentialityLabel xmlns:s4774="{NAMESPACE}"{review}>',
            "  <s4774:ConfidentialityInformation>",
            f"    <s4774:PolicyIdentifier{uri}>{escape(exchange.identifier)}"
            "</s4774:PolicyIdentifier>",
            f"    <s4774:Classification>{policy.level(self.label.level).classification}"
            "</s4774:Classification>",
            *_categories(self.label, exchange),
            "  </s4774:ConfidentialityInformation>",
        ]
        if self.originator is not None:
            lines.append(
                f'  <s4774:OriginatorID IDType="{self.originator.kind}">'
                f"{escape(self.originator.name)}</s4774:OriginatorID>"
            )
        lines += [
            f"  <s4774:CreationDateTime>{_stamp(self.created)}</s4774:CreationDateTime>",
            "</s4774:originatorConfidentialityLabel>",
        ]
        return "\n".join(lines).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes, policy: LabelPolicy) -> Self:
        """From XML, for a policy on the scale of ``policy``.

        Raises Invalid naming the part that is wrong or cannot be honoured.
        """
        root = parse_xml(content, NAMESPACE, LARGEST)
        if root.name not in _ROOTS:
            raise _wrong(f"it begins with {root.name[:60]!r}")
        _only_attributes(root, "Id", "ReviewDateTime")
        if root.child("SuccessionHandling") is not None:
            raise Invalid(
                "The label would be replaced by another one at some time (SuccessionHandling).",
                "Here a label is lowered by its originator and a second person. Ask for a label "
                "without it.",
            )
        _only_children(root, "ConfidentialityInformation", "OriginatorID", "CreationDateTime")
        review = root.attributes.get("ReviewDateTime")
        return cls(
            _label(root.one("ConfidentialityInformation"), policy),
            _time(root.one("CreationDateTime").token, "CreationDateTime"),
            None if review is None else _time(review, "ReviewDateTime"),
            _originator(root.child("OriginatorID")),
        )


# Writing


def _categories(label: Label, exchange: Exchange) -> list[str]:
    policy = label.policy
    own = f"{policy.id}." if policy.binds else ""
    mine = sorted(part for part in label.compartments if own and part.startswith(own))
    lines = []
    if exchange.context is not None:
        uri = _NATO_CONTEXT_URI if exchange.uri is not None else None
        lines += _category("PERMISSIVE", _CONTEXT, [exchange.context], uri)
    if mine:
        values = [part.removeprefix(own).upper() for part in mine]
        lines += _category("RESTRICTIVE", exchange.sensitivity, values)
    if others := sorted(label.compartments - set(mine)):
        lines += _category("RESTRICTIVE", _NEED, [part.upper() for part in others])
    if label.also:
        lines += _category("RESTRICTIVE", _BRIEFED, [_identifier(policy, id) for id in label.also])
    if label.releasable_to is not None:
        codes = [policy.scale.aliases.get(code, code) for code in label.releasable_to]
        lines += _category("PERMISSIVE", _RELEASE, codes)
    return lines


def _category(kind: str, tag: str, values: Sequence[str], uri: str | None = None) -> list[str]:
    place = "" if uri is None else f' URI="{uri}"'
    inside = "".join(
        f"<s4774:GenericValue>{escape(value)}</s4774:GenericValue>" for value in sorted(values)
    )
    return [f'    <s4774:Category Type="{kind}" TagName="{tag}"{place}>{inside}</s4774:Category>']


def _identifier(policy: LabelPolicy, id: str) -> str:
    exchange = policy.scale.policies[id].exchange
    return id.upper() if exchange is None else exchange.identifier


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Reading


def _label(element: Element, known: LabelPolicy) -> Label:
    _only_attributes(element)
    _only_children(element, "PolicyIdentifier", "Classification", "PrivacyMark", "Category")
    policy = _policy(element.one("PolicyIdentifier"), known)
    classification = element.one("Classification")
    _only_attributes(classification)
    _only_children(classification)
    level = next(
        (one.id for one in policy.levels if one.classification == classification.token.upper()),
        None,
    )
    if level is None:
        raise _wrong(f"policy {policy.id} has no classification {classification.token[:40]!r}")
    honoured = _Honoured(policy)
    for category in element.children_named("Category"):
        honoured.take(*_values(category))
    return Label(
        policy,
        level,
        frozenset(honoured.compartments),
        honoured.releasable_to,
        honoured.also,
    )


class _Honoured:
    """What the categories of a label say, as far as it can be honoured."""

    def __init__(self, policy: LabelPolicy) -> None:
        self._policy = policy
        self._exchange = policy.exchange or Exchange("")
        self._seen: set[str] = set()
        self.compartments: set[str] = set()
        self.releasable_to: frozenset[str] | None = None
        self.also: frozenset[str] = frozenset()

    def take(self, kind: str, tag: str, values: list[str]) -> None:
        """Take one category in. Raises Invalid for one that cannot be honoured, or comes twice."""
        if kind == "INFORMATIVE":
            return
        if tag in self._seen:
            raise _wrong(f"the category {tag[:60]!r} is there twice")
        self._seen.add(tag)
        if kind == "PERMISSIVE" and tag == _RELEASE:
            short = {long: code for code, long in self._policy.scale.aliases.items()}
            self.releasable_to = frozenset(short.get(value, value) for value in values)
        elif kind == "PERMISSIVE" and tag == _CONTEXT and values == [self._exchange.context]:
            pass  # the policy says so already
        elif kind == "RESTRICTIVE" and tag == _BRIEFED and values:
            self.also = frozenset(_named(value, self._policy).id for value in values)
        elif (
            kind == "RESTRICTIVE"
            and tag == self._exchange.sensitivity
            and values
            and self._policy.binds
        ):
            self.compartments |= {f"{self._policy.id}.{value.lower()}" for value in values}
        elif kind == "RESTRICTIVE" and tag == _NEED and values:
            self.compartments |= {value.lower() for value in values}
        else:
            raise Invalid(
                f"The label has a {kind} category {tag[:60]!r} that cannot be honoured here.",
                "Somebody it does not mean would read what it stands on. Ask its originator.",
            )


def _policy(element: Element, known: LabelPolicy) -> LabelPolicy:
    _only_attributes(element, "URI")
    _only_children(element)
    policy = _named(element.token, known)
    uri = element.attributes.get("URI")
    own = None if policy.exchange is None else policy.exchange.uri
    if uri is not None and own is not None and uri != own:
        raise _wrong(f"its policy is called {element.token[:40]} and is {uri[:60]!r}")
    return policy


def _named(identifier: str, known: LabelPolicy) -> LabelPolicy:
    for policy in known.scale.policies.values():
        exchange = policy.exchange
        if exchange is not None and exchange.identifier == identifier.upper():
            return policy
    raise Invalid(
        f"The label is of policy {identifier[:40]!r}, which is not known here.",
        "The country pack says which are, and what their levels are worth.",
    )


def _values(category: Element) -> tuple[str, str, list[str]]:
    _only_attributes(category, "Type", "TagName", "URI")
    _only_children(category, "GenericValue")
    for name in ("Type", "TagName"):
        if name not in category.attributes:
            raise _wrong(f"a category has no {name}")
    kind = category.attributes["Type"]
    if kind not in ("RESTRICTIVE", "PERMISSIVE", "INFORMATIVE"):
        raise _wrong(f"a category is of type {kind[:40]!r}")
    values = []
    for child in category.children:
        _only_attributes(child)
        _only_children(child)
        # Upper and lower case mean the same in a label (ADatP-4774, chapter 5).
        values.append(child.token.upper())
    if len(set(values)) != len(values):
        raise _wrong("a category names a value twice")
    return kind, category.attributes["TagName"], values


def _originator(element: Element | None) -> Originator | None:
    if element is None:
        return None
    _only_attributes(element, "IDType")
    _only_children(element)
    return Originator(element.attributes.get("IDType", ""), element.token)


def _time(text: str, name: str) -> datetime:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise _wrong(f"{name} is not a time with its zone: {text[:40]!r}") from None


def _only_attributes(element: Element, *names: str) -> None:
    for name in element.attributes:
        if name not in names:
            raise _wrong(f"{element.name} has an attribute {name[:60]!r}")


def _only_children(element: Element, *names: str) -> None:
    for child in element.children:
        if child.name not in names:
            raise _wrong(f"{element.name} holds {child.name[:60]!r}")
    if names and element.text.strip():
        raise _wrong(f"{element.name} holds text of its own")


def _wrong(what: str) -> Invalid:
    return Invalid(f"That is not a confidentiality label: {what}.", _ADVICE)
