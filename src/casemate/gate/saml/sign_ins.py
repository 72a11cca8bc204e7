"""Signing in with a SAML provider: the way there, its answer, and the way back.

The answer is a form that the provider's page has the browser send, with which a browser sends no
cookie of ours. So it is checked when it comes, held for a moment under a name that nobody can
guess, and given to the browser that began, which is then sent here by a redirect, with its cookie.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import CasemateError, NotFound, Unavailable
from casemate.gate.acts import stamp
from casemate.gate.federation import Assertion, Federation
from casemate.gate.pending import Pending
from casemate.gate.saml import logout as logout_
from casemate.gate.saml import request as request_
from casemate.gate.saml import response as response_
from casemate.gate.saml.names import PERSISTENT, TWO_FACTORS
from casemate.gate.saml.provider import SamlProvider
from casemate.gate.saml.response import Said
from casemate.gate.sign_in import Begun, Finished
from casemate.gate.sign_in_refusal import Late, Unentitled, Untrusted
from casemate.gate.token import Random, secret
from casemate.store.tables import used_tokens

if TYPE_CHECKING:
    from casemate.gate.acts import Acts
    from casemate.store.database import Database

_HOLD = timedelta(minutes=1)  # between the answer and the browser that comes for it
_MOST_HELD = 1000
_log = logging.getLogger("casemate.gate.saml")


@dataclass(frozen=True)
class _Held:
    provider: str
    state: str
    said: Said
    until: datetime


class SamlSignIns:
    """Signs people in with the SAML providers of one installation."""

    def __init__(
        self,
        providers: Mapping[str, SamlProvider],
        federation: Federation,
        database: Database,
        acts: Acts,
        random: Random,
    ) -> None:
        self.providers = providers
        self._federation = federation
        self._database = database
        self._acts = acts
        self._random = random
        self._pending = Pending(database, acts)
        self._held: dict[str, _Held] = {}
        self._holding = threading.Lock()

    async def begin(self, name: str, base: str, after: str) -> Begun:
        """Begin a sign-in with the provider ``name``. Raises NotFound, Unavailable."""
        provider = self._usable(name)
        state, browser = secret(self._random), secret(self._random)
        await asyncio.to_thread(self._pending.keep, name, state, browser, after)
        address = request_.address(
            provider.address,
            id=_id(state),
            now=self._acts.now(),
            base=base,
            name=name,
            contexts=provider.entitlements.acr_values,
            # Who is known by an attribute may be called anything here.
            name_format="" if provider.subject else PERSISTENT,
            own=provider.own,
        )
        return Begun(address, browser)

    async def answer(self, name: str, base: str, text: str) -> str:
        """Check an answer (the form's ``SAMLResponse``); a name under which it is held.

        Raises NotFound; Late if nobody here asked; Cancelled; Untrusted.
        """
        provider = self._usable(name)
        try:
            return await asyncio.to_thread(self._answer, provider, base, text)
        except CasemateError as problem:
            raise self._noted(name, problem) from None

    async def finish(
        self, name: str, base: str, answer: Mapping[str, str], browser: str
    ) -> Finished:
        """Give the answer that is held under ``answer["held"]`` to the browser that began.

        Raises Late for any other; Unentitled, Unassured, Barred.
        """
        provider = self._usable(name)
        try:
            return await asyncio.to_thread(self._finish, provider, answer.get("held", ""), browser)
        except CasemateError as problem:
            raise self._noted(name, problem) from None

    def description(self, name: str, base: str) -> bytes:
        """Our metadata for the provider ``name``. Raises NotFound."""
        return request_.description(base, name, self._provider(name).own)

    async def end(self, name: str, base: str, query: str) -> str:
        """End the sessions that a provider says are over; where to send the browser then.

        ``query``: of the address that it sent the browser to, as it stands. Raises NotFound,
        Untrusted (also for a request that was used before).
        """
        provider = self._usable(name)
        try:
            return await asyncio.to_thread(self._end, provider, base, query)
        except CasemateError as problem:
            raise self._noted(name, problem) from None

    def _end(self, provider: SamlProvider, base: str, query: str) -> str:
        address, now = request_.logout_address(base, provider.name), self._acts.clock()
        over = logout_.ended(query, provider, address=address, now=now)
        with self._database.write() as connection:
            self._use(connection, provider, over.id, over.until, now)
            for session in over.sessions or (None,):
                self._federation.end(
                    connection, provider.name, provider.issuer, over.called, session
                )
        if provider.logout is None:
            return f"{base}/sign-in"
        return request_.farewell(
            provider.logout,
            id=_id(secret(self._random)),
            now=self._acts.now(),
            base=base,
            name=provider.name,
            answers=over.id,
            relay=over.relay,
            own=provider.own,
        )

    def _answer(self, provider: SamlProvider, base: str, text: str) -> str:
        root, answered = response_.request_of(text)
        state = answered.removeprefix("_")
        if _id(state) != answered:
            raise Late
        self._pending.check(provider.name, state)
        now = self._acts.clock()
        said = response_.check(
            root,
            provider,
            request=answered,
            address=request_.answer_address(base, provider.name),
            us=request_.entity(base, provider.name),
            now=now,
        )
        self._once(provider, said, now)
        held = secret(self._random)
        with self._holding:
            fresh = {name: one for name, one in self._held.items() if one.until > now}
            for oldest in list(fresh)[: max(0, len(fresh) - _MOST_HELD + 1)]:
                del fresh[oldest]
            self._held = {**fresh, held: _Held(provider.name, state, said, now + _HOLD)}
        return held

    def _finish(self, provider: SamlProvider, held: str, browser: str) -> Finished:
        with self._holding:
            found = self._held.get(held)
        if found is None or found.provider != provider.name or found.until <= self._acts.clock():
            raise Late
        after = self._pending.use(provider.name, found.state, browser)
        with self._holding:
            self._held.pop(held, None)
        said = found.said
        try:
            given = provider.entitlements.of(response_.claims_of(said), said.context)
            session = self._federation.sign_in(
                Assertion(
                    provider.name,
                    provider.issuer,
                    said.subject,
                    given.name,
                    given.tenant,
                    given.roles,
                    given.clearance,
                    given.assurance,
                    said.session,
                    second_factor=said.context == TWO_FACTORS,
                    called=said.called,
                    until=said.ends,
                )
            )
        except Unentitled:
            self._federation.withdraw(provider.name, provider.issuer, said.subject)
            raise
        return Finished(session, after, "")

    def _once(self, provider: SamlProvider, said: Said, now: datetime) -> None:
        with self._database.write() as connection:
            self._use(connection, provider, said.id, said.until, now)

    @staticmethod
    def _use(
        connection: sa.Connection, provider: SamlProvider, id: str, until: datetime, now: datetime
    ) -> None:
        """Use up what the provider calls ``id`` and nobody takes after ``until``."""
        used = hashlib.sha256(f"{provider.issuer}\n{id}".encode()).hexdigest()
        connection.execute(used_tokens.delete().where(used_tokens.c.expires <= stamp(now)))
        query = sa.select(used_tokens).where(used_tokens.c.token == used)
        if connection.execute(query).first() is not None:
            raise Untrusted("it was used before (ID)")
        expires = stamp(until + timedelta(seconds=1))
        connection.execute(used_tokens.insert().values(token=used, expires=expires))

    def _provider(self, name: str) -> SamlProvider:
        provider = self.providers.get(name)
        if provider is None:
            raise NotFound(
                "There is no sign-in service of that name.", "Choose one on the sign-in page."
            )
        return provider

    def _usable(self, name: str) -> SamlProvider:
        """As ``_provider``, if what is known of it still holds. Raises Unavailable."""
        provider = self._provider(name)
        if provider.until is not None and provider.until <= self._acts.clock():
            # SAML 2.0 Metadata 2.3.2: keys that it has given up may be in them.
            raise Unavailable(
                f"The metadata of sign-in service {name!r} are out of date.",
                "Whoever runs Casemate gets new ones from it, and restarts.",
            )
        return provider

    def _noted(self, name: str, problem: CasemateError) -> CasemateError:
        """The problem, after a line for the operator: what the person reads is less exact."""
        _log.warning("signing in with provider %s: %s", name, problem.what)
        return problem


def _id(state: str) -> str:
    # An XML ID begins with no digit.
    return f"_{state}"
