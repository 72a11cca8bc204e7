"""Signing in with a provider: the way there, the way back, and the end.

Authorization code with PKCE (RFC 7636, S256). A browser that begins gets one secret, in a cookie;
``nonce`` and ``code_verifier`` are derived from it and from the ``state``, so that the database
holds only hashes and nobody else's browser can finish. A state is used once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import sqlalchemy as sa

from casemate.errors import CasemateError, NotFound
from casemate.gate.acts import stamp
from casemate.gate.federation import Assertion, Federation
from casemate.gate.oidc import id_token
from casemate.gate.oidc.logout_token import Ended
from casemate.gate.oidc.peer import Description, Peer
from casemate.gate.oidc.provider import Provider
from casemate.gate.oidc.signed import Token
from casemate.gate.pending import Pending
from casemate.gate.sign_in import Begun, Finished
from casemate.gate.sign_in_refusal import Cancelled, Unentitled, Untrusted
from casemate.gate.token import Random, secret
from casemate.store.tables import used_tokens

if TYPE_CHECKING:
    from casemate.gate.acts import Acts
    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter
    from casemate.store.database import Database

_FAREWELL_SECONDS = 3.0
_log = logging.getLogger("casemate.gate.oidc")


class SignIns:
    """Signs people in with the providers of one installation."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        perimeter: Perimeter,
        federation: Federation,
        database: Database,
        acts: Acts,
        random: Random,
        label: Label,
    ) -> None:
        self.providers = providers
        self._federation = federation
        self._database = database
        self._acts = acts
        self._random = random
        self._pending = Pending(database, acts)
        # What is sent holds nothing that this installation keeps: it may go where anything may.
        self._peers = {
            name: Peer(provider, lambda url: perimeter.route(url, label), self._seconds, random)
            for name, provider in providers.items()
        }

    async def begin(self, name: str, base: str, after: str) -> Begun:
        """Begin a sign-in with the provider ``name``; ``base`` is this installation's address.

        Raises NotFound, Refused (perimeter), Unavailable, Untrusted.
        """
        peer = self._peer(name)
        try:
            description = await peer.description()
        except CasemateError as problem:
            raise self._noted(name, problem) from None
        state, browser = secret(self._random), secret(self._random)
        await asyncio.to_thread(self._pending.keep, name, state, browser, after)
        provider = peer.provider
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": redirect(base, name),
            "scope": " ".join(provider.scopes),
            "state": state,
            "nonce": _derived("nonce", browser, state),
            "code_challenge": _challenge(_derived("verifier", browser, state)),
            "code_challenge_method": "S256",
        }
        if provider.entitlements.acr_values:
            query["acr_values"] = " ".join(provider.entitlements.acr_values)
        try:
            query = await peer.push(query) or query
        except CasemateError as problem:
            raise self._noted(name, problem) from None
        return Begun(_with(description.authorization, query), browser)

    async def finish(
        self, name: str, base: str, answer: Mapping[str, str], browser: str
    ) -> Finished:
        """End a sign-in with what the provider sent back (``answer``: the query) to ``browser``.

        Raises Late for a state that is unknown, used, too old or another browser's; Cancelled;
        Untrusted; Unentitled, Unassured, Barred; Refused (perimeter); Unavailable.
        """
        peer, state = self._peer(name), answer.get("state", "")
        after = await asyncio.to_thread(self._pending.use, name, state, browser)
        try:
            description = await peer.description()
            _check_sender(answer, peer.provider, description)
            if "error" in answer:
                raise _cancelled(answer["error"])
            if not answer.get("code"):
                raise Untrusted("it brings no code")
            granted = await peer.redeem(
                answer["code"], _derived("verifier", browser, state), redirect(base, name)
            )
            token = Token.parse(granted.id_token, peer.provider.algorithms)
            claims = await peer.claims(token)
            id_token.check(
                claims,
                peer.provider,
                now=self._seconds(),
                nonce=_derived("nonce", browser, state),
                algorithm=token.algorithm,
                access_token=granted.access_token,
            )
            subject = id_token.subject(claims)
            told = claims
            if peer.provider.userinfo:
                # What was signed wins over what merely came along.
                told = await peer.userinfo(granted.access_token, subject) | claims
            session = await asyncio.to_thread(self._opened, peer.provider, claims, told)
        except CasemateError as problem:
            raise self._noted(name, problem) from None
        return Finished(session, after, granted.id_token)

    async def end(self, name: str, text: str) -> int:
        """End the sessions that a logout token says are over; how many there were.

        Raises NotFound (provider), Untrusted (also for a token that was used before), Refused
        (perimeter), Unavailable.
        """
        peer = self._peer(name)
        try:
            token = Token.parse(text, peer.provider.algorithms)
            claims = await peer.claims(token)
            ended = Ended.of(claims, token.kind, peer.provider, self._seconds())
            return await asyncio.to_thread(self._end, peer.provider, ended)
        except CasemateError as problem:
            raise self._noted(name, problem) from None

    async def end_by_browser(self, name: str, issuer: str, session: str) -> int:
        """End the sessions that a browser says are over there; how many there were.

        OpenID Connect Front-Channel Logout 1.0. Nothing is signed: who knows the provider's name of
        a session can end it and no more. So a provider has to be declared for it. Raises NotFound.
        """
        provider = self._peer(name).provider
        if not provider.front_channel or issuer != provider.issuer or not session:
            raise NotFound("There is nothing to end here.", "Sign out where you signed in.")

        def end() -> int:
            with self._database.write() as connection:
                return self._federation.end(connection, name, issuer, None, session)

        return await asyncio.to_thread(end)

    def keys(self, name: str) -> dict[str, Any]:
        """The public half of the key that this client proves itself with there: a JWK set.

        Raises NotFound if it has none, Unavailable if it cannot be read.
        """
        provider = self._peer(name).provider
        if provider.key is None:
            raise NotFound("There is no key for that sign-in service.", "It has a client secret.")
        return {"keys": [provider.key.published()]}

    async def farewell(self, name: str, base: str, id_token: str | None) -> str | None:
        """Where to send a browser that signed out here, to sign out at its provider as well.

        None if the provider does not offer it, is not to be asked, or does not answer: who wants
        to leave is not held up. OpenID Connect RP-Initiated Logout 1.0.
        """
        peer = self._peers.get(name)
        if peer is None or not peer.provider.single_logout:
            return None
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                address = (await peer.description()).end_session
        except (CasemateError, TimeoutError):
            return None
        if address is None:
            return None
        # One of the two says who asks; some providers stumble over both.
        who = {"id_token_hint": id_token} if id_token else {"client_id": peer.provider.client_id}
        return _with(address, who | {"post_logout_redirect_uri": f"{base}/sign-in"})

    async def check(self, name: str) -> Description:
        """What a provider says of itself, asked now, for who sets it up. Raises as ``begin``."""
        peer = self._peer(name).anew()
        description = await peer.description()
        await peer.published()
        if peer.provider.secret is not None:
            await asyncio.to_thread(peer.provider.secret.read)
        if peer.provider.key is not None:
            await asyncio.to_thread(peer.provider.key.published)
        return description

    def _peer(self, name: str) -> Peer:
        peer = self._peers.get(name)
        if peer is None:
            raise NotFound(
                "There is no sign-in service of that name.", "Choose one on the sign-in page."
            )
        return peer

    def _opened(
        self, provider: Provider, claims: Mapping[str, Any], told: Mapping[str, Any]
    ) -> str:
        """A session for the subject of ``claims``, which the provider signed, as ``told`` gives."""
        subject, session = id_token.subject(claims), claims.get("sid")
        try:
            given = provider.entitlements.of(told, claims.get("acr"))
            said = Assertion(
                provider.name,
                provider.issuer,
                subject,
                given.name,
                given.tenant,
                given.roles,
                given.clearance,
                given.assurance,
                session if isinstance(session, str) else None,
                second_factor=_two_factors(claims.get("amr")),
            )
            return self._federation.sign_in(said)
        except Unentitled:
            self._federation.withdraw(provider.name, provider.issuer, subject)
            raise

    def _end(self, provider: Provider, ended: Ended) -> int:
        now = self._acts.clock()
        until = now + timedelta(seconds=max(0.0, ended.until - now.timestamp()))
        used = hashlib.sha256(f"{provider.issuer}\n{ended.id}".encode()).hexdigest()
        with self._database.write() as connection:
            connection.execute(used_tokens.delete().where(used_tokens.c.expires <= stamp(now)))
            query = sa.select(used_tokens).where(used_tokens.c.token == used)
            if connection.execute(query).first() is not None:
                raise Untrusted("it was used before (jti)")
            connection.execute(used_tokens.insert().values(token=used, expires=stamp(until)))
            return self._federation.end(
                connection, provider.name, provider.issuer, ended.subject, ended.session
            )

    def _noted(self, name: str, problem: CasemateError) -> CasemateError:
        """The problem, after a line for the operator: what the person reads is less exact."""
        _log.warning("signing in with provider %s: %s", name, problem.what)
        return problem

    def _seconds(self) -> float:
        return self._acts.clock().timestamp()


def redirect(base: str, name: str) -> str:
    """Where a provider sends browsers back to: to be registered there, letter by letter."""
    return f"{base}/sign-in/with/{quote(name)}/back"


def _check_sender(answer: Mapping[str, str], provider: Provider, said: Description) -> None:
    # RFC 9207: keeps one provider's answer from being taken for another's (mix-up).
    sender = answer.get("iss")
    if sender != provider.issuer and (sender is not None or said.names_itself):
        raise Untrusted("another provider sent it (iss)")


def _cancelled(error: str) -> Cancelled:
    known = {
        "access_denied": "Nobody signed in at the sign-in service, or it was not allowed.",
        "login_required": "The sign-in service asks to sign in there first.",
    }
    return Cancelled(known.get(error, "The sign-in service did not sign anybody in."))


def _two_factors(methods: object) -> bool:
    """Whether the provider says that more than one factor was used: RFC 8176, ``amr`` "mfa"."""
    return isinstance(methods, list) and "mfa" in methods


def _derived(what: str, browser: str, state: str) -> str:
    raw = hmac.digest(browser.encode(), f"{what}\n{state}".encode(), "sha256")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _challenge(verifier: str) -> str:
    raw = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _with(address: str, query: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"
