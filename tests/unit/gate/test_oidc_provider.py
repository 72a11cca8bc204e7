"""The file of identity providers: what is wrong in it is refused by the provider's name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid, Unavailable
from casemate.gate.country import Country
from casemate.gate.declaration import Declared, load, parse
from casemate.gate.oidc.provider import Provider, check_endpoint
from casemate.gate.oidc.secret import Secret

LU = Country.load("lu")
FOLDER = Path("/data")
GOOD: dict[str, str] = {
    "name": '"ministry"',
    "title": '"Ministry of Specimens"',
    "issuer": '"https://login.example.lu/realms/state"',
    "client_id": '"casemate"',
    "client_secret": '"file:ministry.secret"',
    "tenant": '{ name = "home" }',
    "roles": '{ claim = ["realm_access", "roles"], values = { clerk = ["user"] } }',
    "clearance": '{ claim = "clearance" }',
}


def parsed(**changes: str | None) -> Provider:
    given_ = {name: text for name, text in (GOOD | changes).items() if text is not None}
    lines = [f"{name} = {text}" for name, text in given_.items()]
    content = "[[provider]]\n" + "\n".join(lines)
    (provider,) = parse(content.encode(), "providers.toml", FOLDER, LU).oidc.values()
    return provider


def test_what_is_left_out_is_strict() -> None:
    provider = parsed()
    assert provider.authentication == "client_secret_basic"
    assert provider.scopes == ("openid", "profile")
    assert "none" not in provider.algorithms
    assert not [one for one in provider.algorithms if one.startswith("HS")]
    assert (provider.skew, provider.userinfo, provider.authority) == (60, False, None)
    assert provider.entitlements.acr_values == ()


def test_a_client_without_a_secret_says_so() -> None:
    assert parsed(client_secret=None).authentication == "none"
    post = parsed(client_authentication='"client_secret_post"')
    assert post.authentication == "client_secret_post"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": '"Ministry"'}, "a name is"),
        ({"name": '"../etc"'}, "a name is"),
        ({"title": '""'}, "title"),
        ({"issuer": '"http://login.example.lu"'}, "not https"),
        ({"issuer": '"https://login.example.lu/?x=1"'}, "neither query"),
        ({"issuer": '"https://user@login.example.lu"'}, "plain https"),
        ({"issuer": '"login.example.lu"'}, "plain https"),
        ({"client_id": '""'}, "client_id"),
        ({"client_secret": '"hunter2 is my secret"'}, "a reference"),
        ({"client_secret": '"variable:lower"'}, "a reference"),
        ({"client_secret": None, "client_authentication": '"client_secret_basic"'}, "go with"),
        ({"client_authentication": '"none"'}, "go with"),
        ({"client_authentication": '"tls"'}, "client_authentication is"),
        ({"client_key": '"file:client.pem"'}, "two ways"),
        ({"client_secret": None, "client_key": '"-----BEGIN hunter2"'}, "a reference"),
        ({"client_authentication": '"private_key_jwt"'}, "does not go with client_secret"),
        ({"client_secret": None, "client_authentication": '"private_key_jwt"'}, "client_key"),
        ({"client_key_algorithm": '"HS256"'}, "client_key_algorithm is"),
        ({"client_audience": '"anybody"'}, "client_audience is"),
        ({"roles": '{ claim = "groups", values = { a = ["provisioner"] } }'}, "a provider gives"),
        ({"algorithms": '["none"]'}, "algorithms"),
        ({"algorithms": '["HS256"]'}, "algorithms"),
        ({"algorithms": "[]"}, "algorithms"),
        ({"scopes": '["profile"]'}, "openid"),
        ({"scopes": '["openid", "a b"]'}, "scopes"),
        ({"clock_skew_seconds": "301"}, "clock_skew_seconds"),
        ({"tenant": "{}"}, "tenant needs"),
        ({"tenant": '{ name = "a", claim = "b" }'}, "tenant needs"),
        ({"roles": '{ claim = "groups", values = {} }'}, "no role"),
        ({"roles": '{ claim = "groups", values = { a = ["king"] } }'}, "'king' is no role"),
        ({"roles": '{ claim = "groups", values = { a = ["owner"] } }'}, "the owner"),
        ({"clearance": None}, "clearance"),
        ({"clearance": '{ claim = "x", values = { a = "cosmic" } }'}, "no level 'cosmic'"),
        ({"clearance": '{ claim = "x", ceiling = "mars:secret" }'}, "mars"),
        ({"assurance": '{ minimum = "very" }'}, "assurance"),
        ({"assurance": '{ values = { a = "very" } }'}, "assurance"),
        ({"password": '"x"'}, "password"),
    ],
)
def test_what_is_wrong_is_refused_by_name(changes: dict[str, str | None], why: str) -> None:
    with pytest.raises(Invalid) as caught:
        parsed(**changes)
    assert why in caught.value.what
    assert "hunter2" not in str(caught.value)


def test_two_providers_have_two_names(tmp_path: Path) -> None:
    one = "[[provider]]\n" + "\n".join(f"{name} = {text}" for name, text in GOOD.items()) + "\n"
    (tmp_path / "providers.toml").write_text(one + one)
    with pytest.raises(Invalid, match="two providers called 'ministry'"):
        load(tmp_path / "providers.toml", LU)
    with pytest.raises(Invalid, match="does not exist"):
        load(tmp_path / "others.toml", LU)


@given(st.binary(max_size=200))
def test_any_other_content_is_refused(content: bytes) -> None:
    with contextlib.suppress(Invalid):
        assert parse(content, "providers.toml", FOLDER, LU) == Declared()


@pytest.mark.parametrize(
    "url",
    [
        None, 7, "", "//x", "ftp://x.example", "https://x.example#a", "https://x.example/ y",
        "https://169.254.169.254/", "http://10.0.0.1/", "https://0x7f.1/", "unix:///run/x",
    ],
)  # fmt: skip
def test_an_endpoint_is_plain_https(url: object) -> None:
    with pytest.raises(Invalid):
        check_endpoint(url, "token_endpoint")


def test_an_endpoint_on_this_machine_may_be_http() -> None:
    for url in ("http://127.0.0.1:9000/t", "http://localhost:9000/t", "http://[::1]:9000/t"):
        assert check_endpoint(url, "token_endpoint") == url


# Secrets


def test_a_secret_is_read_each_time_from_where_it_lies(tmp_path: Path) -> None:
    secret = Secret.parse("file:s", tmp_path)
    (tmp_path / "s").write_text("first\n")
    (tmp_path / "s").chmod(0o600)
    assert secret.read() == "first"
    (tmp_path / "s").write_text("second\n")
    assert secret.read() == "second"
    assert "second" not in repr(secret)


def test_a_secret_may_come_from_the_environment() -> None:
    secret = Secret.parse("variable:CASEMATE_OIDC_SECRET_MINISTRY", FOLDER)
    assert secret.read({"CASEMATE_OIDC_SECRET_MINISTRY": "x"}) == "x"
    with pytest.raises(Unavailable, match="missing"):
        secret.read({})


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_what_cannot_be_a_secret_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    (tmp_path / "s").chmod(0o600)
    with pytest.raises(Unavailable, match="missing"):
        Secret.parse("file:s", tmp_path).read()


@given(st.text("abcdefghijkl:XYZ_0123", min_size=8, max_size=30))
def test_a_secret_in_place_of_a_reference_is_not_repeated(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        Secret.parse(f"#{text}", FOLDER)
    assert text not in str(caught.value)
