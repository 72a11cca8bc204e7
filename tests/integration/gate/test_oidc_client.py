"""How this installation proves itself to a provider, and asks ahead of the browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey
from oidc_stage import PROVIDER, Stage, a_stage

from casemate.errors import NotFound, Unauthenticated, Unavailable
from casemate.gate.oidc.client_key import TYPE, ClientKey
from casemate.gate.oidc.secret import Secret
from casemate.gate.sign_in_refusal import Untrusted

KEYED = 'client_key = "file:{}"\n{}'


def a_file(folder: Path, key: Any = None, name: str = "client.pem") -> Path:
    file = folder / name
    file.write_bytes((key or ECKey.generate_key("P-256")).as_pem(private=True))
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("client")
    with a_keyed_stage(folder) as made:
        yield made


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """The one stage of these tests, where nothing is left of the test before."""
    theatre.reset()
    return theatre


def a_keyed_stage(folder: Path, more: str = "") -> Any:
    """A provider that knows this installation by a key, not by a secret."""
    file = a_file(folder)
    text = PROVIDER.replace('client_secret = "file:{secret}"\n', "")
    return a_stage(folder, KEYED.format(file, more), provider=text)


def asserted(stage: Stage, form: dict[str, str]) -> jwt.Token:
    """The assertion in a form, checked with the keys that we serve."""
    assert form["client_assertion_type"] == TYPE
    keys = KeySet.import_key_set(stage.sign_ins.keys("ministry"))
    return jwt.decode(form["client_assertion"], keys, algorithms=["ES256"])


def test_a_key_proves_who_asks_to_the_provider_alone_and_once(stage: Stage) -> None:
    for _ in range(2):
        assert stage.caller(stage.sign_in())
    first, second = (asserted(stage, form) for form in stage.liar.forms)
    now = int(stage.world.watch.moment.timestamp())
    assert first.claims | {"jti": ""} == {
        "iss": "casemate",
        "sub": "casemate",
        "aud": stage.liar.issuer,
        "jti": "",
        "iat": now,
        "exp": now + 60,
    }
    assert first.claims["jti"] != second.claims["jti"]
    assert stage.liar.seen == ["", ""]
    assert not {"client_secret"} & set(stage.liar.forms[0])


def test_an_assertion_may_be_for_the_address_that_is_asked(tmp_path: Path) -> None:
    with a_keyed_stage(tmp_path, 'client_audience = "endpoint"') as stage:
        stage.reset()
        stage.sign_in()
        claims = asserted(stage, stage.liar.forms[0]).claims
        assert claims["aud"] == f"{stage.liar.issuer}/token"


def test_what_is_served_of_the_key_is_its_public_half(stage: Stage) -> None:
    (served,) = stage.sign_ins.keys("ministry")["keys"]
    assert (served["kty"], served["use"], served["alg"]) == ("EC", "sig", "ES256")
    assert "d" not in served


def test_a_key_that_is_changed_counts_at_once(tmp_path: Path) -> None:
    with a_keyed_stage(tmp_path) as stage:
        stage.reset()
        stage.sign_in()
        before = stage.sign_ins.keys("ministry")
        a_file(tmp_path)
        assert stage.sign_ins.keys("ministry") != before
        stage.sign_in()
        assert asserted(stage, stage.liar.forms[1])


def test_where_there_is_no_key_none_is_served(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage, pytest.raises(NotFound):
        stage.sign_ins.keys("ministry")


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "RSA": (lambda: RSAKey.generate_key(2048), "PS256"),
    "P-384": (lambda: ECKey.generate_key("P-384"), "ES384"),
    "Ed25519": (lambda: OKPKey.generate_key("Ed25519"), "EdDSA"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_signs_as_its_kind_does(tmp_path: Path, kind: str) -> None:
    make, algorithm = KINDS[kind]
    key = ClientKey(Secret(a_file(tmp_path, make()), None), "")
    text = key.assertion("c", "https://x.example", "1", 0)
    signed = jws.extract_compact(text.encode())
    assert signed.headers()["alg"] == key.published()["alg"] == algorithm


def test_a_key_signs_as_it_is_told_if_it_can(tmp_path: Path) -> None:
    secret = Secret(a_file(tmp_path, RSAKey.generate_key(2048)), None)
    assert ClientKey(secret, "RS256").published()["alg"] == "RS256"
    with pytest.raises(Unavailable, match="cannot be used"):
        ClientKey(secret, "ES256").published()


NO_KEYS = {
    "nothing": b"nothing",
    "small": rsa.generate_private_key(65537, 1024).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ),
    "public": ECKey.generate_key("P-256").as_pem(private=False),
    "shared": json.dumps(OctKey.generate_key(256).as_dict()).encode(),
}


@pytest.mark.parametrize("content", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_key_to_sign_with_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "client.pem"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(Unavailable, match="cannot be used"):
        ClientKey(Secret(file, None), "").published()


# Asking ahead (RFC 9126)


def announce(stage: Stage, **more: Any) -> None:
    stage.liar.description = {"pushed_authorization_request_endpoint": f"{stage.liar.issuer}/par"}
    stage.liar.description |= more


def test_what_is_asked_goes_ahead_of_the_browser_where_the_provider_takes_it(stage: Stage) -> None:
    announce(stage)
    begun = stage.begin()
    query = parse_qs(urlsplit(begun.address).query)
    assert set(query) == {"client_id", "request_uri"}
    (form,) = stage.liar.forms
    assert {"state", "nonce", "code_challenge", "redirect_uri", "scope"} <= set(form)
    assert asserted(stage, form)
    assert stage.caller(stage.finish(begun, stage.liar.visit(begun.address)))


def test_who_cannot_prove_themselves_asks_ahead_only_where_it_must_be(tmp_path: Path) -> None:
    text = PROVIDER.replace('client_secret = "file:{secret}"\n', "")
    with a_stage(tmp_path, provider=text) as stage:
        stage.reset()
        announce(stage)
        assert "request_uri" not in stage.begin().address
    with a_stage(tmp_path / "second", provider=text) as stage:
        stage.reset()
        announce(stage, require_pushed_authorization_requests=True)
        begun = stage.begin()
        assert stage.caller(stage.finish(begun, stage.liar.visit(begun.address)))
        assert stage.liar.forms[0]["client_id"] == "casemate"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((400, {"error": "invalid_client"}), "invalid_client"),
        ((401, {"error": "x" * 500}), "ahead"),
        ((201, {}), "does not answer as a provider does"),
        ((201, {"request_uri": ""}), "does not answer as a provider does"),
        ((201, {"request_uri": "u" * 3000}), "does not answer as a provider does"),
        ((302, {}), "elsewhere"),
        ((404, {}), "404"),
    ],
)
def test_a_provider_that_takes_nothing_ahead_is_said_to(
    stage: Stage, answer: tuple[int, Any], why: str
) -> None:
    announce(stage)
    stage.liar.pushes = lambda form: answer
    with pytest.raises(Untrusted, match=why):
        stage.begin()


# Front-channel logout


def test_a_browser_brings_the_end_of_a_session_where_that_is_declared(tmp_path: Path) -> None:
    with a_stage(tmp_path, "front_channel_logout = true") as stage:
        stage.reset()
        first = stage.sign_in()
        stage.liar.claims["sid"] = "session-2"
        second = stage.sign_in()
        issuer = stage.liar.issuer
        end = lambda *said: asyncio.run(stage.sign_ins.end_by_browser(*said))  # noqa: E731
        for said in (("x", "session-1"), (issuer, ""), ("", "")):
            with pytest.raises(NotFound):
                end("ministry", *said)
        assert end("ministry", issuer, "session-9") == 0
        assert end("ministry", issuer, "session-1") == 1
        with pytest.raises(Unauthenticated):
            stage.caller(first)
        assert stage.caller(second)


def test_without_being_declared_no_browser_ends_anything(stage: Stage) -> None:
    done = stage.sign_in()
    with pytest.raises(NotFound):
        asyncio.run(stage.sign_ins.end_by_browser("ministry", stage.liar.issuer, "session-1"))
    assert stage.caller(done)
