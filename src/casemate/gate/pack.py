"""The pack in force: the country pack that ships, or an operator's own in its place.

An operator's pack (``country.toml`` in the data folder) takes the place of the shipped one of the
same name. It is put there only after it was checked as a whole, against what is stored as well; it
is in force from the next start. Until then, and whenever one is refused, what runs stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import Invalid, Refused
from casemate.gate.acts import digest
from casemate.gate.country import Country
from casemate.gate.label import Label
from casemate.store.database import Database
from casemate.store.folder import disk_problem, write_durably
from casemate.store.tables import collections, models, passages, principals, runs, use_cases

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.perimeter import Perimeter
    from casemate.gate.right import Rights

FILE = "country.toml"
LARGEST = 1 << 20  # bytes
# What says who may read, and what says how high something is.
_RIGHTS = ((principals, "clearance"), (use_cases, "ceiling"))
_THINGS = ((collections, "label"), (passages, "label"), (runs, "label"), (models, "label"))


def load(path: Path, id: str) -> Country:
    """The pack in force: the file at ``path`` if there is one, else the shipped one called ``id``.

    Raises Invalid naming the hole in it: nothing starts on labels that are half understood.
    """
    try:
        content = path.read_bytes() if path.exists() else None
    except OSError as problem:
        raise disk_problem(problem) from problem
    return Country.load(id) if content is None else Country.parse(content, id)


class Pack:
    """Checks an operator's pack and puts it in place."""

    def __init__(
        self,
        path: Path,
        country: Country,
        database: Database,
        perimeter: Perimeter,
        rights: Rights,
    ) -> None:
        self._path = path
        self._country = country
        self._database = database
        self._perimeter = perimeter
        self._rights = rights

    def check(self, content: bytes) -> Country:
        """The pack that ``content`` (TOML) is, if it can take the place of the one in force.

        Raises Invalid naming its holes or a stored label that it does not understand; Refused if
        it would let somebody read what they may not read now: a label is lowered otherwise.
        """
        if len(content) > LARGEST:
            raise Invalid(f"The pack is larger than {LARGEST >> 10} KiB.", "Is it one?")
        new = Country.parse(content, self._country.id)
        rights, things = set(self._stored(_RIGHTS)), set(self._stored(_THINGS))
        rights |= {str(place.ceiling) for place in self._perimeter.places}
        before = {text: self._country.policy.parse(text) for text in rights | things}
        after = {text: _understood(new, text) for text in before}
        for right in sorted(rights):
            for thing in sorted(things | rights):
                self._narrower(right, thing, before, after)
        return new

    def use(self, actor: Caller, content: bytes) -> Country:
        """Put it in place; it is in force from the next start. For the owner, and on record.

        Raises like ``check``; Refused, Unavailable.
        """
        self._rights.administer(actor)
        if "owner" not in actor.principal.roles:
            raise Refused("Only the owner of the installation may do this.", "Ask the owner.")
        new = self.check(content)
        self._rights.acts.record(
            "country.changed",
            actor.principal,
            country=new.id,
            before=digest(self._path.read_text() if self._path.exists() else ""),
            after=digest(content.decode()),
        )
        try:
            write_durably(self._path, content)
        except OSError as problem:
            raise disk_problem(problem) from problem
        return new

    def _narrower(
        self, right: str, thing: str, before: dict[str, Label], after: dict[str, Label]
    ) -> None:
        """Raise Refused if ``right`` covers ``thing`` after the change and does not now."""
        if after[right].dominates(after[thing]) and not before[right].dominates(before[thing]):
            raise Refused(
                f"Under this pack who is cleared for {right} could read {thing}, and may not now.",
                "A pack does not lower labels: its originator and a second person do.",
            )

    def _stored(self, columns: tuple[tuple[sa.Table, str], ...]) -> Iterator[str]:
        with self._database.read() as connection:
            for table, column in columns:
                query = sa.select(table.c[column]).distinct()
                for text in connection.execute(query).scalars():
                    if self._country.policy.knows(text):  # else nobody reads it now either
                        yield text


def _understood(new: Country, text: str) -> Label:
    try:
        return new.policy.parse(text)
    except Invalid as problem:
        raise Invalid(
            f"Country pack {new.id!r} does not understand {text}, which is stored here: "
            f"{problem.what}",
            "Add what is missing; until then the pack in force stays.",
        ) from None
