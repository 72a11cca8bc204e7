"""A real browser signs in with a provider of another site, and out again at both.

What only a browser shows: that its rules for cookies of other sites, and the pages' policies of
content, let the way there, the way back and the way out pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from oidc_peer_process import PASSWORD
from playwright.sync_api import Browser, Page, expect
from provider_builders import NEEDS_XMLSEC, Place, a_place, a_saml_place

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    # "localhost" is another site than 127.0.0.1, though both are this machine.
    with a_place(tmp_path_factory.mktemp("provider") / "data", "localhost") as made:
        yield made


@pytest.fixture
def page(place: Place, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=place.base, locale="en-GB")
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def test_signing_in_with_a_provider_ends_where_one_wanted_to_go(page: Page, place: Place) -> None:
    complaints: list[tuple[str, str]] = []
    page.on("console", lambda said: complaints.append((said.location["url"], said.text)))
    page.goto("/documents")
    violations = Axe().run(page).response["violations"]
    assert not violations, violations
    page.get_by_role("link", name="Sign in with Ministry of Specimens").click()
    assert page.url.startswith(f"{place.issuer}/authorization?")
    page.get_by_label("Username").fill("claire")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.wait_for_url(f"{place.base}/documents")
    expect(page.get_by_text("claire")).to_be_visible()
    assert [said for where, said in complaints if where.startswith(place.base)] == []
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{place.base}/sign-in")
    page.goto("/documents")
    assert "/sign-in" in page.url


def test_a_browser_that_turns_back_can_begin_again(page: Page, place: Place) -> None:
    page.goto("/sign-in/with/ministry/back?state=x&error=access_denied")
    expect(page.get_by_role("alert")).to_contain_text("begun too long ago")
    page.get_by_role("link", name="Sign in with Ministry of Specimens").click()
    expect(page.get_by_label("Username")).to_be_visible()


@NEEDS_XMLSEC
def test_a_form_of_a_saml_provider_finds_the_browser_that_began(
    browser: Browser, tmp_path: Path
) -> None:
    with a_saml_place(tmp_path, "localhost") as place:
        context = browser.new_context(base_url=place.base, locale="en-GB")
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.goto("/documents")
        page.get_by_role("link", name="Sign in with State identity").click()
        page.get_by_label("Username").fill("claire")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Go on").click()
        page.wait_for_url(f"{place.base}/documents")
        expect(page.get_by_text("claire")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{place.base}/sign-in")
        context.close()
