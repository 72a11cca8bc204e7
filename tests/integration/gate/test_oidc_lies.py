"""Signing in with a provider that lies, or that somebody lies about: every lie is refused."""

from __future__ import annotations

import hmac
import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from certificate_builders import SERVER, a_certificate, an_authority, loopback
from gate_builders import Watch
from joserfc import jws
from joserfc.jwk import ECKey
from oidc_liar import CLIENT, a_key, a_liar
from oidc_stage import Stage, a_stage, anew, b64

from casemate.errors import Refused, Unavailable
from casemate.gate.sign_in_refusal import (
    Untrusted,
)
from casemate.store.tables import sessions


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("lies")) as made:
        yield made


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """The one stage of these tests, where nothing is left of the lie before."""
    theatre.reset()
    return theatre


# Tokens that lie

NOW = int(Watch().moment.timestamp())
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another audience": ({"aud": "other"}, "aud"),
    "an audience beside ours": ({"aud": [CLIENT, "other"], "azp": CLIENT}, "aud"),
    "no audience": ({"aud": None}, "aud"),
    "an audience of numbers": ({"aud": [CLIENT, 7]}, "aud"),
    "made for another": ({"azp": "other"}, "azp"),
    "another issuer": ({"iss": "https://evil.example"}, "iss"),
    "an issuer with a slash": ({"iss": "{issuer}/"}, "iss"),
    "expired": ({"exp": NOW - 61}, "exp"),
    "without an end": ({"exp": None}, "exp"),
    "an end that is a text": ({"exp": "9999999999"}, "exp"),
    "an end that is true": ({"exp": True}, "exp"),
    "made in the future": ({"iat": NOW + 61}, "iat"),
    "made long ago": ({"iat": NOW - 700}, "iat"),
    "without a beginning": ({"iat": None}, "iat"),
    "not valid yet": ({"nbf": NOW + 61}, "nbf"),
    "another nonce": ({"nonce": "swapped"}, "nonce"),
    "no nonce": ({"nonce": None}, "nonce"),
    "a nonce that is no text": ({"nonce": 7}, "nonce"),
    "another access token": ({"at_hash": "swapped"}, "at_hash"),
    "nobody": ({"sub": ""}, "sub"),
    "a person that is a number": ({"sub": 7}, "sub"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_with_one_wrong_claim_is_refused_by_name(stage: Stage, lie: str) -> None:
    changes, why = LIES[lie]

    def change(claims: dict[str, Any]) -> None:
        for name, value in changes.items():
            if isinstance(value, str):
                value = value.replace("{issuer}", stage.liar.issuer)
            claims[name] = value
            if value is None:
                del claims[name]

    stage.liar.change = change
    with pytest.raises(Untrusted, match=rf"\({why}\)"):
        stage.sign_in()
    assert stage.rows(sessions) == []


@pytest.mark.parametrize("claim", [{"exp": NOW - 59}, {"iat": NOW + 59}, {"nbf": NOW + 59}])
def test_clocks_may_differ_a_little(stage: Stage, claim: dict[str, int]) -> None:
    stage.liar.change = lambda claims: claims.update(claim)
    assert stage.sign_in()


def _unsigned(header: dict[str, Any], payload: bytes) -> str:
    return f"{b64(json.dumps(header | {'alg': 'none'}).encode())}.{b64(payload)}."


def _with_public_key(form: str) -> Callable[[dict[str, Any], bytes], str]:
    """HS256, with what everybody can read as its secret: the classic confusion."""

    def sign(header: dict[str, Any], payload: bytes) -> str:
        key = a_key("first")
        text = key.as_pem(private=False) if form == "pem" else json.dumps(key.as_dict()).encode()
        signed = f"{b64(json.dumps(header | {'alg': 'HS256'}).encode())}.{b64(payload)}"
        return f"{signed}.{b64(hmac.digest(text, signed.encode(), 'sha256'))}"

    return sign


def _broken(header: dict[str, Any], payload: bytes) -> str:
    text = jws.serialize_compact(header, payload, a_key("first"), algorithms=["RS256"])
    head, _, signature = text.split(".")
    return f"{head}.{b64(payload.replace(b'Claire', b'Cleo'))}.{signature}"


def _own_key(header: dict[str, Any], payload: bytes) -> str:
    """Signed with a key that the token brings along, under the name of one that is known."""
    mine = a_key("mine")
    public = mine.as_dict(private=False)
    header = header | {"jwk": {**public, "kid": "first"}, "kid": "first"}
    return jws.serialize_compact(header, payload, mine, algorithms=["RS256"])


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        (_unsigned, "algorithm"),
        (_with_public_key("pem"), "algorithm"),
        (_with_public_key("jwk"), "algorithm"),
        (_broken, "signature"),
        (_own_key, "signature"),
        (lambda header, payload: "x.y", "not a signed token"),
        (lambda header, payload: "x.y.z", "not"),
        (lambda header, payload: "é.é.é", "not"),
        (lambda header, payload: f"{b64(b'[]')}.{b64(payload)}.x", "JSON object"),
        (lambda header, payload: "a" * 70_000 + "..", "not a signed token"),
    ],
    ids="none hs256-pem hs256-jwk changed own-key two-parts no-base64 no-ascii list long".split(),
)
def test_a_token_that_the_provider_did_not_sign_is_refused(
    stage: Stage, sign: Callable[[dict[str, Any], bytes], str], why: str
) -> None:
    stage.liar.sign = sign
    with pytest.raises(Untrusted, match=why):
        stage.sign_in()


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"b64": False}, {"kid": 7}])
def test_a_header_that_asks_for_more_is_refused(stage: Stage, header: dict[str, Any]) -> None:
    def sign(given: dict[str, Any], payload: bytes) -> str:
        return f"{b64(json.dumps(given | header).encode())}.{b64(payload)}.{b64(b'x')}"

    stage.liar.sign = sign
    with pytest.raises(Untrusted, match="header"):
        stage.sign_in()


# Keys


def test_a_new_key_is_fetched_once_and_then_known(stage: Stage) -> None:
    stage.sign_in()
    assert stage.liar.asked.count("/keys") == 1
    stage.sign_in()
    assert stage.liar.asked.count("/keys") == 1
    stage.world.watch.pass_by(minutes=1)
    stage.liar.key = a_key("second")
    stage.liar.published = [a_key("first"), a_key("second")]
    stage.sign_in()
    assert stage.liar.asked.count("/keys") == 2


def test_a_key_that_the_provider_took_back_is_not_believed_for_ever(stage: Stage) -> None:
    stage.sign_in()
    stage.liar.published = [a_key("second")]
    assert stage.sign_in()
    stage.world.watch.pass_by(hours=1)
    with pytest.raises(Untrusted, match="does not have"):
        stage.sign_in()


def test_tokens_of_unknown_keys_do_not_make_us_ask_without_end(stage: Stage) -> None:
    stage.sign_in()
    stage.world.watch.pass_by(minutes=1)
    stage.liar.key = a_key("second")
    for _ in range(5):
        with pytest.raises(Untrusted, match="does not have"):
            stage.end(stage.liar.logout_token())
    assert stage.liar.asked.count("/keys") == 2


def test_a_token_without_a_key_name_needs_a_set_of_one(stage: Stage) -> None:
    stage.liar.header = {"kid": None}
    assert stage.sign_in()
    stage.world.watch.pass_by(minutes=1)
    stage.liar.published.append(a_key("second"))
    stage.sign_ins = stage.world.gate.sign_ins = anew(stage)
    with pytest.raises(Untrusted, match="which of several"):
        stage.sign_in()


def test_a_key_for_encryption_signs_nothing(stage: Stage) -> None:
    stage.liar.published = [_Odd(a_key("first"), use="enc")]
    with pytest.raises(Untrusted, match="does not have"):
        stage.sign_in()


def test_elliptic_curves_are_known_too(stage: Stage) -> None:
    key = ECKey.generate_key("P-256", {"kid": "curve", "use": "sig"})
    stage.liar.key, stage.liar.published = key, [key]
    stage.liar.header = {"alg": "ES256"}
    assert stage.sign_in()


# Providers that lead elsewhere


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
def test_a_provider_that_sends_us_elsewhere_is_refused(stage: Stage, path: str) -> None:
    with a_liar(stage.world.watch) as other:
        stage.liar.redirects[path] = f"{other.issuer}{path}"
        with pytest.raises(Untrusted, match="elsewhere"):
            stage.sign_in()
        assert other.asked == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"issuer": "https://evil.example"}, "another provider"),
        ({"token_endpoint": "http://login.example/token"}, "not https"),
        ({"token_endpoint": None}, "missing"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "not a plain https"),
        ({"jwks_uri": "file:///etc/passwd"}, "not a plain https"),
        ({"end_session_endpoint": "https://x@evil.example"}, "not a plain https"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256"),
        ({"response_types_supported": "code"}, "response_types"),
    ],
)
def test_a_description_that_is_not_right_is_refused(
    stage: Stage, said: dict[str, Any], why: str
) -> None:
    stage.liar.description = said
    with pytest.raises(Untrusted, match=why):
        stage.begin()


@pytest.mark.parametrize("trusted", ["mine", "other"])
def test_a_server_is_trusted_by_the_authorities_that_are_named(
    tmp_path: Path, trusted: str
) -> None:
    now = datetime.now(UTC)
    roots = {name: an_authority(name, now) for name in ("mine", "other")}
    server = a_certificate(roots["mine"], now, names=(loopback(),), purpose=SERVER)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(server.write(tmp_path / "server.pem"))
    (tmp_path / "roots.pem").write_bytes(roots[trusted].pem)
    with a_stage(tmp_path, 'authority = "roots.pem"', tls) as stage:
        if trusted == "mine":
            assert stage.sign_in()
        else:
            with pytest.raises(Untrusted, match="certificate"):
                stage.sign_in()
        (tmp_path / "roots.pem").write_text("nothing")
        stage.world.watch.pass_by(hours=1)
        with pytest.raises(Unavailable, match="cannot be read"):
            stage.begin()


@pytest.mark.parametrize("which", ["token_endpoint", "jwks_uri"])
def test_an_address_outside_the_perimeter_is_not_asked(stage: Stage, which: str) -> None:
    with a_liar(stage.world.watch) as other:
        stage.liar.description[which] = f"{other.issuer}/token"
        with pytest.raises(Refused, match="perimeter"):
            stage.sign_in()
        assert other.asked == []


def test_a_provider_that_is_silent_is_said_to_be(stage: Stage) -> None:
    stage.liar.get = lambda path, authorization: (503, {})  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="does not answer"):
        stage.begin()
    stage.liar.get = lambda path, authorization: (200, b" " * (1 << 21))  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(Untrusted, match="more than"):
        stage.begin()


@pytest.mark.parametrize("answer", [{"id_token": None}, {"token_type": "DPoP"}, {"id_token": 7}])
def test_an_answer_that_is_no_token_is_refused(stage: Stage, answer: dict[str, Any]) -> None:
    stage.liar.answer = answer
    with pytest.raises(Untrusted):
        stage.sign_in()


class _Odd:
    """A key that is published with other parameters."""

    def __init__(self, key: Any, **more: str) -> None:
        self._key, self._more = key, more

    def as_dict(self, private: bool) -> dict[str, Any]:
        return self._key.as_dict(private=private) | self._more
