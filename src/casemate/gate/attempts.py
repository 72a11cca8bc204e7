"""Attempts: guessing is met with pauses that double, for the name and for where it comes from.

OWASP ASVS 5.0, 6.3.1. Kept in the database, so that a restart or a second process forgets nothing.
Names that nobody has are counted like those that somebody has, by the same work, and the ledger
speaks of both alike: whether an account exists cannot be told from what happens.
"""

from __future__ import annotations

import ipaddress
import logging
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from casemate.gate.acts import Acts, stamp
from casemate.gate.name import known_name
from casemate.gate.token import Random, fingerprint, identifier
from casemate.log import FIELDS
from casemate.store.database import Database
from casemate.store.tables import attempts

_log = logging.getLogger("casemate.gate.sign_in")
_FREE_FOR_A_NAME = 5  # then one minute, two, four, … between attempts
_FREE_FROM_AN_ADDRESS = 20  # a whole office may stand behind one
_LONGEST_PAUSE = timedelta(minutes=15)
_FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Attempt:
    """One attempt: whether it may be looked at, and what it closes if it fails."""

    open_now: bool
    closes: tuple[tuple[str, str, int], ...]  # "account" or "address", stand-in, failures
    subjects: tuple[str, ...]
    stand_in: str  # for the name, in logs: the same for each attempt of a day


def account(name: str) -> str:
    """What attempts on ``name`` are counted under.

    A directory takes many spellings for one name: case does not count there, nor how wide letters
    or spaces are (RFC 4518), nor, in some, accents. Each would otherwise be guessed at anew.
    """
    plain = unicodedata.normalize("NFKD", known_name(name).casefold())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return fingerprint("account\0" + " ".join(letters.casefold().split()))


class Attempts:
    """Counts attempts to sign in, and closes names and addresses for a while."""

    def __init__(self, database: Database, acts: Acts, random: Random) -> None:
        self._database = database
        self._acts = acts
        self._random = random

    def begin(self, name: str, address: str) -> Attempt:
        """Count an attempt, before anything is looked at.

        Guesses sent all at once would otherwise all pass under the limit. ``address``: an IP, or
        empty where there is none.
        """
        now = self._acts.clock()
        counted = [("account", account(name), _FREE_FOR_A_NAME)]
        if place := _place(address):
            counted.append(("address", fingerprint("address\0" + place), _FREE_FROM_AN_ADDRESS))
        with self._database.write() as connection:
            old = attempts.c.last <= stamp(now - _FORGOTTEN_AFTER)
            connection.execute(attempts.delete().where(old))
            rows = {subject: self._row(connection, subject, now) for _, subject, _ in counted}
            open_now = all(
                row.locked_until is None or row.locked_until <= stamp(now) for row in rows.values()
            )
            closes = []
            for of, subject, free in counted:
                row = rows[subject]
                # A closed one is written too, as it was: a commit that changes nothing is faster.
                failures = row.failures + open_now
                until = _pause_after(failures - free, now) if open_now else row.locked_until
                connection.execute(
                    attempts.update()
                    .where(attempts.c.subject == subject)
                    .values(failures=failures, locked_until=until, last=stamp(now))
                )
                if open_now and until is not None:
                    closes.append((of, row.stand_in, failures))
        stand_in = rows[counted[0][1]].stand_in
        return Attempt(open_now, tuple(closes), tuple(rows), stand_in)

    def failed(self, attempt: Attempt, pseudonym: str | None) -> None:
        """Record what a failure has closed. ``pseudonym``: of whom the name is, if anybody.

        Each failure is a line of the server's log; the ledger has those that close something, so
        that whoever guesses cannot fill it.
        """
        _log.warning(
            "a sign-in failed",
            extra={FIELDS: {"subject": pseudonym or attempt.stand_in, "open": attempt.open_now}},
        )
        for of, stand_in, failures in attempt.closes:
            subject = pseudonym if of == "account" and pseudonym else stand_in
            self._acts.record("sign_in.locked", None, of=of, subject=subject, failures=failures)

    def succeeded(self, connection: sa.Connection, attempt: Attempt) -> None:
        """Open the name again, and take the attempt back, in the caller's transaction.

        Not more for its address: who has one account could otherwise guess at others for ever.
        """
        self.taken_back(connection, attempt)
        name = attempt.subjects[0]
        connection.execute(attempts.delete().where(attempts.c.subject == name))

    def taken_back(self, connection: sa.Connection, attempt: Attempt) -> None:
        """Count this one as none, in the caller's transaction; those before it stay counted."""
        connection.execute(
            attempts.update()
            .where(attempts.c.subject.in_(attempt.subjects))
            .values(failures=attempts.c.failures - 1, locked_until=None)
        )

    def _row(self, connection: sa.Connection, subject: str, now: datetime) -> sa.Row[Any]:
        query = sa.select(attempts).where(attempts.c.subject == subject)
        row = connection.execute(query).first()
        if row is None:
            connection.execute(
                attempts.insert().values(
                    subject=subject,
                    stand_in="p" + identifier(self._random),
                    failures=0,
                    last=stamp(now),
                )
            )
            row = connection.execute(query).one()
        return row


def _place(address: str) -> str:
    """An IPv4 address, or the /64 that an IPv6 one is of: one household or office has them all.

    None for this machine's own: behind a proxy that does not say for whom it speaks everybody
    comes from there, and a few failures would close the door to all.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if ip.is_loopback:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _pause_after(beyond: int, now: datetime) -> str | None:
    if beyond < 0:
        return None
    return stamp(now + min(timedelta(minutes=2 ** min(beyond, 10)), _LONGEST_PAUSE))
