"""Local accounts: people whose passwords this installation keeps (see ``password``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.gate.name import known_name
from casemate.store.tables import principals

if TYPE_CHECKING:
    from casemate.gate.password import Passwords
    from casemate.gate.principal import Principal, Principals
    from casemate.store.database import Database


class LocalAccounts:
    """Checks names and passwords. An unknown name costs what a wrong password does."""

    def __init__(self, database: Database, people: Principals, passwords: Passwords) -> None:
        self._database = database
        self._people = people
        self._passwords = passwords

    def enter(self, name: str, password: str) -> Principal | None:
        """Who that is; None for a wrong password, an unknown name, and who is disabled."""
        with self._database.read() as connection:
            named = principals.c.name == known_name(name)
            row = connection.execute(sa.select(principals).where(named)).first()
        stored = None if row is None or row.disabled is not None else row.password
        right = self._passwords.verify(stored, password)
        return self._people.read(row) if right and row is not None else None

    def pretend(self, name: str) -> None:
        """As much work, for a name that is closed for a while."""
        self._passwords.verify(None, name)
