"""Codes of an authenticator app, by the vectors of RFC 6238 and RFC 4226."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.gate import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [  # RFC 6238, appendix B: the last six of eight digits
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert totp.code(SECRET, seconds // totp.STEP_SECONDS) == code
    assert totp.step_of(SECRET, code, seconds) == seconds // totp.STEP_SECONDS


@pytest.mark.parametrize(
    ("count", "code"), [*enumerate(["755224", "287082", "359152", "969429", "338314", "254676"])]
)
def test_codes_by_count_are_those_of_rfc_4226(count: int, code: str) -> None:
    assert totp.code(SECRET, count) == code


@given(st.integers(min_value=0, max_value=2**40), st.integers(min_value=-4, max_value=4))
def test_a_code_counts_one_step_around_its_own_and_no_further(step: int, off: int) -> None:
    found = totp.step_of(SECRET, totp.code(SECRET, step), (step + off) * totp.STEP_SECONDS)
    if abs(off) <= 1 and step + off >= 0:
        assert found is not None
    else:
        # A code of six digits may be that of another step by chance, never of one far away.
        assert found is None or abs(found - (step + off)) <= 1


@given(st.text())
def test_what_is_no_code_is_none(typed: str) -> None:
    near = {totp.code(SECRET, step) for step in (0, 1)}
    assert (totp.step_of(SECRET, typed, 0) is not None) == (typed in near)


def test_the_address_holds_what_an_app_needs() -> None:
    address = urlsplit(totp.address(SECRET, "Casemate", "Zoé & Bob/x"))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert unquote(address.path) == "/Casemate:Zoé & Bob/x"
    said = {name: value for name, (value,) in parse_qs(address.query).items()}
    assert base64.b32decode(said.pop("secret")) == SECRET
    assert said == {"issuer": "Casemate", "algorithm": "SHA1", "digits": "6", "period": "30"}
