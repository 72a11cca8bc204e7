from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_site import QUESTION, Opened, Site, ask
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def rooms(page: Page) -> Iterator[str]:
    """Each page in turn, opened; its name."""
    for path in ("/_design", "/documents", "/runs", "/account", "/nowhere"):
        page.goto(path)
        yield path
    page.goto("/")
    yield "/"
    page.get_by_role("button", name="Ask").click()
    yield "/ with a problem"
    ask(page)
    yield "/ with an answer"
    passage = page.locator(".source-foot a").first.get_attribute("href") or ""
    page.get_by_role("link", name="Open the run").click()
    page.get_by_text(re.compile("2 searches")).click()
    page.get_by_text("Check it yourself").click()
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("The receipt holds.")).to_be_visible()
    yield "a run, checked"
    if page.get_by_role("button", name="Close").is_hidden() and page.viewport_size["width"] < 960:
        page.locator(".cite").first.click()
        expect(page.get_by_role("button", name="Close")).to_be_visible()
        yield "a run with its sheet"
        page.get_by_role("button", name="Close").click()
    page.get_by_role("link", name="See what each sentence rests on").click()
    yield "an explanation"
    page.goto(passage)
    yield "a document"
    page.context.clear_cookies()
    page.goto("/sign-in")
    yield "/sign-in"
    page.goto("/sign-in/some-link")
    yield "/sign-in/some-link"


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_the_accessibility_guidelines(
    opened: Opened, scheme: Literal["light", "dark"], width: int
) -> None:
    page = opened(width=width, color_scheme=scheme, reduced_motion="reduce")
    axe = Axe()
    for name in rooms(page):
        found = axe.run(page, options={"runOnly": LEVELS})
        assert not found.response["violations"], f"{name}: {found.generate_report()}"
        # nothing to scroll sideways: also what 200 % zoom of a small window needs
        reach = page.evaluate("document.documentElement.scrollWidth")
        assert reach <= width, f"{name} is {reach} px wide"


def test_everything_can_be_done_from_the_keyboard(site: Site, opened: Opened) -> None:
    page = opened(member=False)
    page.goto(site.sign_in_link())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Sign in")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.base_url}/")
    tab_to(page, "#question")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Receipt")).to_be_visible()
    tab_to(page, ".cite")
    number = page.locator(".cite").first
    expect(page.locator("svg.hairline")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#source-1")).to_be_focused()
    page.keyboard.press("Escape")
    expect(number).to_be_focused()
    tab_to(page, "[data-check] button")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The receipt holds.")).to_be_visible()


def tab_to(page: Page, selector: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached by Tab")


def test_on_a_narrow_screen_the_source_slides_up_and_goes_back(opened: Opened) -> None:
    page = opened(width=360, reduced_motion="reduce")
    ask(page)
    sheet = page.get_by_role("dialog", name="Sources")
    number = page.locator(".cite").first
    for leave in (lambda: page.keyboard.press("Escape"), page.get_by_text("Close").click):
        expect(page.locator("#pane")).to_be_hidden()
        number.click()
        expect(sheet).to_be_visible()
        expect(sheet.locator("mark.is-active").first).to_be_in_viewport()
        leave()
        expect(number).to_be_focused()


def test_everything_works_without_script(site: Site, opened: Opened) -> None:
    page = opened(member=False, java_script_enabled=False)
    page.goto(site.sign_in_link())
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("Write a question first.")).to_be_visible()
    page.get_by_role("textbox", name="Your question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answer-body")).to_contain_text("The card costs 12 euros a year")
    page.get_by_role("link", name=re.compile("^Source 1")).first.click()
    expect(page.locator("mark:target")).to_have_text(re.compile("^The card costs 12 euros"))
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("The receipt holds.")).to_be_visible()
    page.get_by_role("button", name="Français").click()
    expect(page.get_by_role("heading", name="Reçu")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "fr")


def test_page_answer_source_and_document_say_their_language(opened: Opened) -> None:
    page = opened(locale="fr-LU")
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    page.get_by_role("textbox").fill("Wo kann mein Hund ohne Leine herumrennen?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Reçu")).to_be_visible()
    expect(page.locator("#answer-live")).to_have_attribute("lang", "de")
    expect(page.locator(".source blockquote").first).to_have_attribute("lang", "de")
    page.locator(".source-foot a").first.click()
    expect(page.locator(".leaves")).to_have_attribute("lang", "de")


def test_on_paper_an_answer_has_its_numbered_sources_at_the_end(opened: Opened) -> None:
    page = opened(width=700)
    ask(page)
    page.emulate_media(media="print")
    expect(page.locator("#ask")).to_be_hidden()
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("#source-1")).to_be_visible()
    answer, source = page.locator("#answer-live"), page.locator("#source-1")
    assert answer.bounding_box()["y"] < source.bounding_box()["y"]


def test_documents_come_in_are_refused_with_reasons_and_leave(opened: Opened) -> None:
    page = opened()
    page.goto("/documents")
    page.get_by_text("New collection").click()
    page.get_by_label("Name").fill("garden")
    page.get_by_role("button", name="Create collection").click()
    page.get_by_text("+ Add documents").or_(page.get_by_text("Add documents")).first.click()
    page.get_by_label("Into collection").select_option("garden")
    page.get_by_label("Files").set_input_files(
        [
            {"name": "Bäume.txt", "mimeType": "text/plain", "buffer": b"Trees are trimmed in May."},
            {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4 no"},
        ]
    )
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("“Bäume.txt” was added.")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("broken.pdf")
    page.get_by_role("link", name="Bäume.txt").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the original").click()
    assert download.value.suggested_filename == "Bäume.txt"
    page.get_by_text("Delete this document").click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("link", name="Bäume.txt")).to_have_count(0)
