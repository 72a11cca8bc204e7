"""Casemate as it runs, and an OpenID provider that we did not write: from the button to logout."""

from __future__ import annotations

import html
import http.cookiejar
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from house_builders import casemate
from oidc_peer_process import PASSWORD, SECRET
from provider_builders import Place, a_place


@dataclass(frozen=True)
class Page:
    """What a browser shows in the end."""

    status: int
    address: str
    text: str

    def link(self, words: str) -> str:
        """Where the link with these words leads."""
        found = re.search(rf'<a [^>]*href="([^"]*)"[^>]*>{re.escape(words)}</a>', self.text)
        assert found, self
        return urljoin(self.address, html.unescape(found[1]))


@dataclass
class Browser:
    """Keeps cookies, follows redirects; says where a form or a link comes from, as browsers do."""

    jar: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def go(self, address: str, form: dict[str, str] | None = None) -> Page:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        body = None if form is None else urlencode(form).encode()
        request = urllib.request.Request(address, body, {"Sec-Fetch-Site": "same-origin"})
        try:
            with opener.open(request, timeout=30) as answer:
                return Page(answer.status, answer.url, answer.read().decode())
        except urllib.error.HTTPError as answer:
            with answer:
                return Page(answer.code, answer.url, answer.read().decode())

    def sign_in(self, page: Page, name: str) -> Page:
        """Fill in the provider's form."""
        token = re.search(r'name="token" value="([^"]+)"', page.text)
        action = re.search(r'action="([^"]+)"', page.text)
        assert token, page
        assert action, page
        return self.go(action[1], {"token": token[1], "username": name, "password": PASSWORD})


def button(place: Place, browser: Browser) -> str:
    return browser.go(f"{place.base}/sign-in").link("Sign in with Ministry of Specimens")


def signed_in(place: Place, browser: Browser, name: str = "claire") -> Page:
    return browser.sign_in(browser.go(button(place, browser)), name)


def who(place: Place, browser: Browser) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(browser.go(f"{place.base}/api/whoami").text)
    return said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_place(tmp_path_factory.mktemp("peer") / "data") as made:
        yield made


def test_a_person_signs_in_and_is_who_the_provider_says(place: Place) -> None:
    browser = Browser()
    page = signed_in(place, browser)
    assert (page.status, urlsplit(page.address).path) == (200, "/sign-in/with/ministry/back")
    assert page.link("Go on") == f"{place.base}/"
    assert 'http-equiv="refresh" content="0;url=/"' in page.text
    found = who(place, browser)
    assert (found["name"], found["roles"], found["clearance"]) == (
        "claire",
        ["user"],
        "lu:restricted",
    )
    assert (found["via"], found["assurance"]) == ("session", "substantial")
    assert "claire" in browser.go(f"{place.base}/").text


def test_a_person_without_a_right_is_told_so_in_their_language(place: Place) -> None:
    browser = Browser()
    browser.go(f"{place.base}/language", {"language": "lb"})
    assert "Oder mat Numm a Passwuert" in browser.go(f"{place.base}/sign-in").text
    login = browser.go(f"{place.base}/sign-in/with/ministry")
    page = browser.sign_in(login, "gast")
    assert page.status == 403
    assert "Äre Kont do gëtt Iech hei kee Recht" in page.text
    assert "clerks" not in page.text
    assert browser.go(f"{place.base}/api/whoami").status == 401


def test_the_way_back_works_once(place: Place) -> None:
    browser = Browser()
    page = signed_in(place, browser)
    kept = {cookie.name for cookie in browser.jar}
    assert kept >= {"casemate_session", "casemate_id_token"}
    assert "casemate_sign_in" not in kept
    again = browser.go(page.address)
    assert again.status == 401
    assert "is done already" in again.text


def test_the_code_is_worth_nothing_to_another_browser(place: Place) -> None:
    first, other = Browser(), Browser()
    login = first.go(button(place, first))
    other.go(button(place, other))
    address = _without_following(first, login)
    assert other.go(address).status == 401
    assert other.go(f"{place.base}/api/whoami").status == 401
    assert first.go(address).status == 200


def test_signing_out_here_leads_to_signing_out_there_and_back(place: Place) -> None:
    browser = Browser()
    signed_in(place, browser)
    assert who(place, browser)["name"] == "claire"
    page = browser.go(f"{place.base}/sign-out", {})
    assert browser.go(f"{place.base}/api/whoami").status == 401
    there = page.link("Sign out there")
    assert there.startswith(f"{place.issuer}/session?id_token_hint=ey")
    back = browser.go(there)
    assert back.address == f"{place.base}/sign-in"


def test_the_providers_logout_token_ends_the_session_at_once(place: Place) -> None:
    browser = Browser()
    signed_in(place, browser)
    copy = {one.name: one.value for one in browser.jar if one.domain.startswith("127.0.0.1")}
    hint = copy["casemate_id_token"]
    query = {"id_token_hint": hint, "post_logout_redirect_uri": f"{place.base}/sign-in"}
    assert who(place, browser)["name"] == "claire"
    browser.go(f"{place.issuer}/session?{urlencode(query)}")
    assert browser.go(f"{place.base}/api/whoami").status == 401
    ended = casemate(
        "ledger", "search", "--kind", "session.ended", "--json", data=place.folder
    ).fine()
    assert {one["entry"]["provider"] for one in ended.json} == {"ministry"}


def test_what_is_no_logout_token_ends_nothing(place: Place) -> None:
    browser = Browser()
    signed_in(place, browser)
    form = "application/x-www-form-urlencoded"
    for body, kind, status in (
        (b"logout_token=a.b.c", form, 400),
        (b"logout_token=a&logout_token=b", form, 400),
        (b"", form, 400),
        (b"\xff", form, 400),
        (b"logout_token=a.b.c", "text/plain", 400),
        (b"x=" + b"y" * (9 << 20), form, 413),
    ):
        answer = place.server.http(
            "POST", "/api/providers/ministry/logout", body=body, headers={"Content-Type": kind}
        )
        assert answer.status == status, (body[:40], answer)
    answer = place.server.http(
        "POST", "/api/providers/x/logout", body=b"logout_token=a", headers={"Content-Type": form}
    )
    assert answer.status == 404
    assert who(place, browser)["name"] == "claire"


def test_an_operator_sees_whether_a_provider_answers(place: Place) -> None:
    found = casemate("provider", "check", "ministry", "--json", data=place.folder).fine().json
    assert (found["state"], found["token"]) == ("answers", f"{place.issuer}/token")
    refused = casemate("provider", "check", "none", data=place.folder).refused()
    assert "no sign-in service of that name" in refused


def test_nothing_secret_is_said_by_the_server(place: Place) -> None:
    assert place.server.process.poll() is None
    everything = "\n".join(place.server.said)
    assert SECRET not in everything
    for path in place.folder.rglob("*"):
        if path.is_file() and path.name != "ministry.secret":
            assert SECRET.encode() not in path.read_bytes(), path


def test_what_the_provider_tells_of_a_person_apart_is_asked_for_where_it_says_so(
    place: Place,
) -> None:
    browser = Browser()
    browser.sign_in(browser.go(f"{place.base}/sign-in/with/apart"), "claire")
    assert who(place, browser)["clearance"] == "lu:restricted"


def test_what_is_asked_goes_ahead_of_the_browser(place: Place) -> None:
    """The provider announces it, and then nothing but a reference passes the browser."""
    login = Browser().go(f"{place.base}/sign-in/with/ministry")
    query = parse_qs(urlsplit(login.address).query)
    assert set(query) == {"client_id", "request_uri"}


def test_a_key_proves_us_to_a_provider_that_fetches_its_public_half(place: Place) -> None:
    browser = Browser()
    browser.sign_in(browser.go(f"{place.base}/sign-in/with/keyed"), "claire")
    assert who(place, browser)["clearance"] == "lu:restricted"
    checked = casemate("provider", "check", "keyed", "--json", data=place.folder).fine().json
    assert checked["state"] == "answers"


def _without_following(browser: Browser, login: Page) -> str:
    """Where the provider sends a browser that signed in."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    token = re.search(r'name="token" value="([^"]+)"', login.text)
    action = re.search(r'action="([^"]+)"', login.text)
    assert token
    assert action
    form = {"token": token[1], "username": "claire", "password": PASSWORD}
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(browser.jar), Stay)
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(urllib.request.Request(action[1], urlencode(form).encode()), timeout=30)
    with caught.value as answer:
        address = answer.headers["Location"]
    assert parse_qs(urlsplit(address).query)["code"]
    return address
