"""A small XML document of one namespace, read into a tree and never trusted.

Expat reads it, and every construct that could name, fetch or multiply something is refused where
it begins: document types, entities, processing instructions. Size, depth and number of elements
are bounded. Source: XML 1.0, Namespaces in XML 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from casemate.errors import Invalid, TooLarge

_DEEPEST = 8
_MOST = 512  # elements


@dataclass
class Element:
    """One element: its name without its namespace, plain attributes, and what is in it."""

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    @property
    def token(self) -> str:
        """Its text as ``xs:token``: without spaces at the ends, and one where there are more."""
        return " ".join(self.text.split())

    def children_named(self, name: str) -> Iterator[Element]:
        """The children of this name, in order."""
        return (child for child in self.children if child.name == name)

    def child(self, name: str) -> Element | None:
        """The child of this name, if there is one. Raises Invalid if there are more."""
        found = list(self.children_named(name))
        if len(found) > 1:
            raise Invalid(f"The XML has {name} more than once.", "Give it once.")
        return found[0] if found else None

    def one(self, name: str) -> Element:
        """The child of this name. Raises Invalid unless there is exactly one."""
        found = self.child(name)
        if found is None:
            raise Invalid(f"The XML has no {name}.", "Add it.")
        return found


def parse_xml(content: bytes, namespace: str, largest: int) -> Element:
    """The root of ``content``, all of whose elements are of ``namespace``.

    Raises TooLarge above ``largest`` bytes; Invalid for anything that is not plain XML of that
    namespace in UTF-8.
    """
    if len(content) > largest:
        raise TooLarge(
            f"The XML is larger than {largest >> 10} KiB.", f"Send at most {largest >> 10} KiB."
        )
    return _Reading(namespace).read(content)


class _Reading:
    def __init__(self, namespace: str) -> None:
        self._prefix = f"{namespace} "
        self._open: list[Element] = []
        self._root: Element | None = None
        self._count = 0
        self._parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._said
        for name, what in (
            ("StartDoctypeDeclHandler", "a document type"),
            ("EntityDeclHandler", "an entity"),
            ("ProcessingInstructionHandler", "a processing instruction"),
            ("ExternalEntityRefHandler", "an external entity"),
            ("SkippedEntityHandler", "an entity"),
        ):
            setattr(self._parser, name, _refusing(what))

    def read(self, content: bytes) -> Element:
        try:
            self._parser.Parse(content, True)
        except (expat.ExpatError, UnicodeDecodeError) as problem:
            raise Invalid(f"That is not XML: {problem}.", "Send well-formed XML.") from None
        if self._root is None:
            raise Invalid("That is not XML: it is empty.", "Send well-formed XML.")
        return self._root

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > _MOST or len(self._open) >= _DEEPEST:
            raise Invalid("The XML has too many elements.", "Send a smaller one.")
        if not name.startswith(self._prefix):
            raise Invalid(
                f"The XML holds {name[-60:]!r}, which is of another namespace.",
                f"Use {self._prefix.strip()}.",
            )
        element = Element(name.removeprefix(self._prefix), dict(attributes))
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, name: str) -> None:
        self._open.pop()

    def _said(self, text: str) -> None:
        self._open[-1].text += text


def _refusing(what: str) -> object:
    def refuse(*_: object) -> NoReturn:
        raise Invalid(f"The XML holds {what}.", "Send it without.")

    return refuse
