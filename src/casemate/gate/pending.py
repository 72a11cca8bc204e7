"""Sign-ins under way: begun here, to be finished by the same browser after a visit elsewhere.

Only hashes are kept, of the state that comes back with the answer and of the secret that stays in
the browser's cookie. A state is used once.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.gate.acts import stamp
from casemate.gate.sign_in_refusal import Late
from casemate.gate.token import fingerprint
from casemate.store.tables import sign_ins

if TYPE_CHECKING:
    from casemate.gate.acts import Acts
    from casemate.store.database import Database

LIFE = timedelta(minutes=10)  # to sign in elsewhere
_MOST = 10_000  # a crowd pushes the oldest out and fills no disk


class Pending:
    """Keeps the sign-ins that are under way."""

    def __init__(self, database: Database, acts: Acts) -> None:
        self._database = database
        self._acts = acts

    def keep(self, provider: str, state: str, browser: str, after: str) -> None:
        """Begin one. ``after``: the page to go to when it is done."""
        now = self._acts.clock()
        with self._database.write() as connection:
            connection.execute(sign_ins.delete().where(sign_ins.c.expires <= stamp(now)))
            newest = sa.select(sign_ins.c.state).order_by(sign_ins.c.expires.desc())
            crowd = sign_ins.c.state.not_in(newest.limit(_MOST - 1))
            connection.execute(sign_ins.delete().where(crowd))
            connection.execute(
                sign_ins.insert().values(
                    state=fingerprint(state),
                    browser=fingerprint(browser),
                    provider=provider,
                    after=after,
                    expires=stamp(now + LIFE),
                )
            )

    def check(self, provider: str, state: str) -> None:
        """Raise Late unless such a sign-in is under way, in whatever browser."""
        with self._database.read() as connection:
            row = connection.execute(_this(state)).first()
        if row is None or row.provider != provider or row.expires <= self._acts.now():
            raise Late

    def use(self, provider: str, state: str, browser: str) -> str:
        """Use a state up; the page to go to then. Raises Late."""
        with self._database.write() as connection:
            row = connection.execute(_this(state)).first()
            if row is None or row.provider != provider:
                raise Late
            if not hmac.compare_digest(row.browser, fingerprint(browser)):
                # Not used up: a link that somebody else was made to open must not end mine.
                raise Late
            connection.execute(sign_ins.delete().where(sign_ins.c.state == row.state))
        if row.expires <= self._acts.now():
            raise Late
        return str(row.after)


def _this(state: str) -> sa.Select[tuple[str, str, str, str, str]]:
    return sa.select(sign_ins).where(sign_ins.c.state == fingerprint(state))
