"""A provider as it answers: its description, its keys, and what it gives for a code.

OpenID Connect Discovery 1.0, RFC 6749 section 4.1.3, RFC 7517. Every address is asked of the
perimeter before each connection, and no redirect is followed: the description of a provider, and
the addresses in it, stay what was declared here.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote_plus

import msgspec
from msgspec import Meta

from casemate.errors import Invalid, Refused, Unavailable
from casemate.gate.connection import Ways, session
from casemate.gate.oidc.client_key import TYPE
from casemate.gate.oidc.provider import Provider, check_endpoint
from casemate.gate.oidc.signed import Key, Token, UnknownKey
from casemate.gate.sign_in_refusal import Untrusted
from casemate.gate.token import Random, secret

if TYPE_CHECKING:
    from casemate.gate.perimeter import Route

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 10.0
_ANSWER_SECONDS = 20.0  # for all of it: pieces that keep coming must end
_LONGEST_ANSWER = 1 << 20  # bytes
_MOST_KEYS = 100
_FRESH_SECONDS = 3600.0  # for which a description is taken as it was
_PAUSE_SECONDS = 10.0  # between fetching keys again because a token names an unknown one
_T = TypeVar("_T")


@dataclass(frozen=True)
class Description:
    """What a provider says of itself. Addresses are checked in form; the perimeter comes later."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    end_session: str | None
    names_itself: bool  # its answers carry "iss": RFC 9207
    push: str | None  # where it takes ahead what is asked: RFC 9126
    push_required: bool


@dataclass(frozen=True)
class Granted:
    """What a code was worth."""

    id_token: str
    access_token: str | None


class Peer:
    """One provider. ``route`` as in ``Perimeter.route``; ``now`` in seconds."""

    def __init__(
        self,
        provider: Provider,
        route: Callable[[str], Route],
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._random = random
        self.provider = provider
        self._route = route
        self._now = now
        self._ways = Ways()
        self._description: tuple[float, Description] | None = None
        self._keys: tuple[Key, ...] = ()
        self._fetched = float("-inf")  # when keys were last fetched
        self._fetching = asyncio.Lock()

    def anew(self) -> Peer:
        """The same provider, with nothing remembered of it."""
        return Peer(self.provider, self._route, self._now, self._random)

    async def description(self) -> Description:
        """What it says of itself, an hour old at most.

        Raises Untrusted if it is not what was declared, Refused outside the perimeter,
        Unavailable if it does not answer.
        """
        known = self._description
        if known is not None and self._now() - known[0] < _FRESH_SECONDS:
            return known[1]
        address = self.provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = self._described(await self._get(address, dict[str, Any]))
        self._description = (self._now(), found)
        return found

    async def claims(self, token: Token) -> dict[str, Any]:
        """What a token says that this provider signed. Raises Untrusted.

        A key that is not known makes the provider's keys be fetched again, once for a token, and
        not again soon: whoever sends tokens must not make us ask without end. Keys of an hour ago
        are fetched again too, so that one the provider took back is not believed for ever.
        """
        for patience in (_FRESH_SECONDS, _PAUSE_SECONDS):
            async with self._fetching:  # one fetches, those who wait for it find what it brought
                if self._now() - self._fetched >= patience:
                    self._keys = await self.published()
                    self._fetched = self._now()
            with contextlib.suppress(UnknownKey):
                return token.claims(self._keys)
        raise Untrusted("it is signed with a key that the provider does not have")

    async def redeem(self, code: str, verifier: str, redirect: str) -> Granted:
        """What ``code`` is worth. Raises Untrusted, Refused, Unavailable."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        status, body = await self._told((await self.description()).token, form)
        if status in (400, 401):
            raise Untrusted(f"it does not take the code back ({_error(body)})")
        answer = _decoded(status, body, _Answer)
        if answer.token_type.lower() != "bearer":
            raise Untrusted("it gives a token of another kind")
        return Granted(answer.id_token, answer.access_token)

    async def push(self, query: Mapping[str, str]) -> dict[str, str] | None:
        """What to send a browser with in place of ``query``, which the provider has taken by now.

        None where it does not take it ahead, or this client cannot prove itself and need not. Then
        nobody on the way reads or changes what is asked. RFC 9126. Raises Untrusted, Refused,
        Unavailable.
        """
        description = await self.description()
        known = self.provider.authentication != "none"
        if description.push is None or not (known or description.push_required):
            return None
        status, body = await self._told(description.push, query)
        if status in (400, 401):
            raise Untrusted(f"it does not take what is asked ahead ({_error(body)})")
        pushed = _decoded(200 if status == 201 else status, body, _Pushed)
        return {"client_id": self.provider.client_id, "request_uri": pushed.request_uri}

    async def _told(self, address: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """What it says to a form that this client proves to be its own."""
        headers, provider = {"Accept": "application/json"}, self.provider
        own = {"client_id": provider.client_id}
        match provider.authentication:
            case "client_secret_basic":
                pair = f"{quote_plus(provider.client_id)}:{quote_plus(self._secret())}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            case "client_secret_post":
                own["client_secret"] = self._secret()
            case "private_key_jwt":
                own |= {"client_assertion_type": TYPE, "client_assertion": self._assertion(address)}
        sent = dict(form) if "Authorization" in headers else {**form, **own}
        return await self._asked("POST", address, headers, sent)

    def _assertion(self, address: str) -> str:
        key, provider = self.provider.key, self.provider
        if key is None:
            raise Refused("This provider has no client key.", "Give it one.")
        audience = provider.issuer if provider.audience == "issuer" else address
        return key.assertion(provider.client_id, audience, secret(self._random), int(self._now()))

    async def userinfo(self, access_token: str | None, subject: str) -> dict[str, Any]:
        """What it says of the person who signed in. Raises Untrusted, Refused, Unavailable."""
        address = (await self.description()).userinfo
        if address is None or access_token is None:
            raise Untrusted("it gives no information about people (userinfo)")
        found = await self._get(address, dict[str, Any], f"Bearer {access_token}")
        # Core, section 5.3.2: without this, one person's answer could stand for another's.
        if found.get("sub") != subject:
            raise Untrusted("it tells of another person than signed in (userinfo)")
        return found

    def _described(self, said: Mapping[str, Any]) -> Description:
        if said.get("issuer") != self.provider.issuer:
            raise Untrusted("it describes another provider (issuer)")
        for name, needed in (
            ("response_types_supported", "code"),
            ("code_challenge_methods_supported", "S256"),
        ):
            offered = said.get(name, [needed])
            if not isinstance(offered, list) or needed not in offered:
                raise Untrusted(f"it does not offer {needed} ({name})")
        try:
            return Description(
                check_endpoint(said.get("authorization_endpoint"), "authorization_endpoint"),
                check_endpoint(said.get("token_endpoint"), "token_endpoint"),
                check_endpoint(said.get("jwks_uri"), "jwks_uri"),
                _optional(said, "userinfo_endpoint"),
                _optional(said, "end_session_endpoint"),
                said.get("authorization_response_iss_parameter_supported") is True,
                _optional(said, "pushed_authorization_request_endpoint"),
                said.get("require_pushed_authorization_requests") is True,
            )
        except Invalid as problem:
            raise Untrusted(problem.what) from None

    async def published(self) -> tuple[Key, ...]:
        """The keys that it signs with, asked now. Raises like ``description``."""
        found = await self._get((await self.description()).keys, dict[str, Any])
        keys = found.get("keys")
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
            raise Untrusted("its keys are not a set of keys")
        return tuple(key for key in keys if isinstance(key, dict))

    async def _get(self, address: str, kind: type[_T], authorization: str = "") -> _T:
        headers = {"Accept": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        return _decoded(*await self._asked("GET", address, headers, None), kind)

    async def _asked(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
    ) -> tuple[int, bytes]:
        import aiohttp

        self._ways.allow(await asyncio.to_thread(self._route, address))
        try:
            async with (
                asyncio.timeout(_ANSWER_SECONDS),
                session(
                    self._ways, connect_seconds=_CONNECT_SECONDS, silence_seconds=_SILENCE_SECONDS
                ) as client,
                client.request(
                    method,
                    address,
                    headers=headers,
                    data=form,
                    allow_redirects=False,
                    ssl=await asyncio.to_thread(self._trust),
                ) as response,
            ):
                if 300 <= response.status < 400:
                    raise Untrusted("it sends us elsewhere")
                content = bytearray()
                async for piece in response.content.iter_any():
                    content += piece
                    if len(content) > _LONGEST_ANSWER:
                        raise Untrusted("it says more than it was asked for")
                return response.status, bytes(content)
        except aiohttp.ClientConnectorCertificateError as problem:
            raise Untrusted("its server's certificate is not one that is trusted") from problem
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            raise _silent() from problem

    def _trust(self) -> ssl.SSLContext | bool:
        if self.provider.authority is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self.provider.authority))
        except (OSError, ssl.SSLError):
            raise Unavailable(
                f"The certificates of provider {self.provider.name!r} cannot be read.",
                "Look at `authority` in the file of identity providers.",
            ) from None

    def _secret(self) -> str:
        if self.provider.secret is None:
            raise Refused("This provider has no client secret.", "Give it one.")
        return self.provider.secret.read()


class _Pushed(msgspec.Struct):
    request_uri: Annotated[str, Meta(min_length=1, max_length=2048)]


class _Answer(msgspec.Struct):
    id_token: str
    token_type: str
    access_token: str | None = None


def _optional(said: Mapping[str, Any], name: str) -> str | None:
    return None if said.get(name) is None else check_endpoint(said[name], name)


def _decoded(status: int, body: bytes, kind: type[_T]) -> _T:
    if status != 200:
        raise _silent() if status >= 500 else Untrusted(f"it answers with status {status}")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        raise Untrusted("it does not answer as a provider does") from None


def _error(body: bytes) -> str:
    """The code of an OAuth error (RFC 6749, section 5.2), if it is one of those that exist."""
    known = ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client")
    try:
        said = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.DecodeError, RecursionError):
        said = None
    return said if said in known else "it does not say why"


def _silent() -> Unavailable:
    return Unavailable(
        "The sign-in service does not answer.", "Try again in a minute, or sign in another way."
    )
