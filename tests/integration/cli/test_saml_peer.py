"""Casemate as it runs, and a SAML identity provider that we did not write."""

from __future__ import annotations

import base64
import html
import http.cookiejar
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin

import pytest
from house_builders import Server, casemate
from provider_builders import NEEDS_XMLSEC, a_saml_place

pytestmark = NEEDS_XMLSEC


@dataclass
class Browser:
    """Keeps cookies, follows redirects."""

    base: str
    jar: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def go(
        self, address: str, form: dict[str, str] | None = None, **headers: str
    ) -> tuple[int, str, str]:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        body = None if form is None else urlencode(form).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with opener.open(urllib.request.Request(address, body, named), timeout=30) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.url, answer.read().decode()

    def answer(self, name: str) -> tuple[str, dict[str, str]]:
        """The form that the provider's page would send for who signs in there as ``name``."""
        _, address, page = self.go(f"{self.base}/sign-in/with/state")
        _, _, page = self.go(urljoin(address, "/sso"), {**_fields(page), "username": name})
        action = re.search(r'action="([^"]+)"', page)
        assert action, page
        return html.unescape(action[1]), _fields(page)

    def sign_in(self, name: str) -> tuple[int, str, str]:
        address, form = self.answer(name)
        return self.go(address, form, Sec_Fetch_Site="cross-site", Origin="http://idp.example")

    def who(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.go(f"{self.base}/api/whoami")[2])
        return said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_saml_place(tmp_path_factory.mktemp("saml")) as place:
        yield place.server


@pytest.fixture
def browser(server: Server) -> Browser:
    return Browser(f"http://127.0.0.1:{server.port}")


def test_a_person_signs_in_and_is_who_the_provider_says(browser: Browser) -> None:
    status, address, page = browser.sign_in("claire")
    assert (status, "/sign-in/with/state/back?held=" in address) == (200, True)
    assert 'http-equiv="refresh" content="0;url=/"' in page
    who = browser.who()
    assert (who["name"], who["roles"], who["clearance"]) == ("claire", ["user"], "lu:restricted")
    assert (who["via"], who["assurance"]) == ("session", "substantial")


def test_a_person_without_a_right_is_told_so(browser: Browser) -> None:
    status, _, page = browser.sign_in("gast")
    assert status == 403
    assert "your account there gives you no right here" in page


def test_an_answer_works_once_and_in_the_browser_that_asked(browser: Browser) -> None:
    address, form = browser.answer("claire")
    other = Browser(browser.base)
    assert other.go(address, form)[0] == 401
    assert browser.go(address, form)[0] == 401  # the other one used it up
    fresh, form = browser.answer("claire")
    assert browser.go(fresh, form)[0] == 200
    status, _, page = browser.go(fresh, form)
    assert status == 401
    assert "is done already" in page or "does not pass the checks" in page


def test_what_the_provider_says_is_encrypted_on_its_way(browser: Browser) -> None:
    _, form = browser.answer("claire")
    said = base64.b64decode(form["SAMLResponse"])
    assert b"EncryptedAssertion" in said
    assert b"xmlenc11#aes256-gcm" in said
    assert b"lu:restricted" not in said


def test_who_signs_out_there_is_signed_out_here_and_the_provider_is_told(
    browser: Browser, server: Server
) -> None:
    browser.sign_in("claire")
    assert browser.who()["name"] == "claire"
    other = Browser(browser.base)  # a logout comes by whatever browser, and no cookie with it
    _, address, _ = other.go(f"{browser.base}/sign-in/with/state")
    _, told, page = other.go(urljoin(address, "/leave?username=claire"))
    assert (urljoin(told, "/"), page) == (urljoin(address, "/"), "True True done there")
    assert "error" in browser.who()


def test_an_answer_that_was_changed_is_refused(browser: Browser) -> None:
    address, form = browser.answer("paul")
    said = base64.b64decode(form["SAMLResponse"])
    assert b"lu:restricted" in said
    changed = base64.b64encode(said.replace(b"lu:restricted", b"lu:top-secret")).decode()
    status, _, page = browser.go(address, {"SAMLResponse": changed})
    assert status == 401
    assert "does not pass the checks" in page


def test_what_is_no_answer_is_refused(browser: Browser) -> None:
    address = f"{browser.base}/sign-in/with/state/answer"
    for form in ({}, {"SAMLResponse": "x"}, {"SAMLResponse": "A" * 600_000}):
        assert browser.go(address, form)[0] == 401
    assert browser.go(address, {"SAMLResponse": "A" * (2 << 20)})[0] == 413
    assert browser.go(f"{browser.base}/sign-in/with/other/answer", {})[0] == 404


def test_the_operator_sees_what_to_register(server: Server) -> None:
    (told,) = casemate("provider", "list", "--json", data=server.folder).fine().json
    assert told["metadata"].endswith("/sign-in/with/state/metadata")
    assert told["back"].endswith("/sign-in/with/state/answer")


def _fields(page: str) -> dict[str, str]:
    found = re.findall(r'name="(\w+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found}
