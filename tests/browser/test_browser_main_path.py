from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from browser_site import QUESTION, Opened, Site, ask
from playwright.sync_api import expect

from casemate.gate.caller import Caller
from casemate.reasoning.event import Event, Request, Text

pytestmark = pytest.mark.browser


def test_sign_in_ask_see_the_source_check_the_receipt(
    site: Site, opened: Opened, complaints: list[str]
) -> None:
    page = opened(member=False)
    page.goto(site.sign_in_link())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.base_url}/")
    ask(page)

    expect(page.locator("#answer-live")).to_contain_text("The card costs 12 euros a year")
    number = page.get_by_role("link", name=re.compile(r"^Source 1: library\.html")).first
    number.hover()
    expect(page.locator("svg.hairline path")).to_have_count(1)
    expect(page.locator("mark.is-active").first).to_have_text(
        re.compile("^The card costs 12 euros")
    )
    number.click()
    expect(page.locator("#source-1")).to_be_focused()
    page.keyboard.press("Escape")
    expect(number).to_be_focused()

    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("The receipt holds.")).to_be_visible()
    expect(page.get_by_text("This answer, word for word.")).to_be_visible()

    page.locator("#source-1").get_by_role("link", name=re.compile("^Read it")).click()
    mark = page.locator("mark#passage")
    expect(mark).to_be_in_viewport()
    expect(mark).to_have_text("The card costs 12 euros a year for adults.")
    assert complaints == []


def test_coming_back_from_a_source_shows_the_answer_again(site: Site, opened: Opened) -> None:
    page = opened()
    ask(page)
    page.wait_for_url(re.compile(r"/runs/r_\w+$"))
    told = page.locator("#answer-live").inner_text()
    page.locator(".source-foot a").first.click()
    expect(page.locator("mark#passage")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("region", name="Receipt")).to_be_visible()
    assert page.locator(".prose").last.inner_text() == told
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(QUESTION)
    # a second question on one page does not stand at the first one's address
    ask(page)
    first = page.url
    page.get_by_role("textbox", name="Your question").fill("What does the wicket cost?")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_url(lambda url: "/runs/" in url and url != first)


def test_another_use_case_offers_other_collections(
    site: Site, opened: Opened, complaints: list[str]
) -> None:
    gate, library = site.installation.gate, site.installation.library
    owner, lowest = gate.owner(), gate.country.policy.lowest()
    second = gate.principals.create(owner, "second", roles=("admin", "user"), clearance=lowest)
    gate.use_cases.register(
        owner,
        "pets",
        purpose="Tests.",
        legal_basis="None.",
        risk="minimal",
        models=("quote",),
        ceiling=lowest,
        oversight="none",
        retention_days=gate.country.retention_floor_days,
        collections=[library.collection(owner, "animals").id],
        screening=gate.use_cases.not_prohibited("It judges nobody."),
    )
    gate.use_cases.approve(Caller(second, None, "local"), "pets")
    try:
        page = opened()
        page.goto("/")
        page.get_by_label("leisure").uncheck()
        page.get_by_label("Use case").select_option("pets")
        expect(page.get_by_role("checkbox", checked=True)).to_have_count(1)
        expect(page.get_by_label("fees")).to_be_hidden()
        page.get_by_role("textbox", name="Your question").fill("Where may my dog run free?")
        with page.expect_request("**/ask") as sent:
            page.keyboard.press("Enter")
        assert sent.value.post_data is not None
        assert "fees" not in sent.value.post_data
        assert "collection=animals" in sent.value.post_data
        expect(page.get_by_role("region", name="Receipt")).to_be_visible()
        page.get_by_label("Use case").select_option("documents")
        expect(page.get_by_label("leisure")).to_be_checked()
        assert complaints == []
    finally:
        gate.use_cases.retire(owner, "pets", "The test is over.")


def test_a_link_previewed_by_a_program_still_works(site: Site, opened: Opened) -> None:
    link = site.sign_in_link()
    page = opened(member=False)
    page.goto(link)
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.base_url}/")


def test_a_link_works_once(site: Site, opened: Opened) -> None:
    link = site.sign_in_link()
    first, second = opened(member=False), opened(member=False)
    for page in (first, second):
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
    expect(first.get_by_role("textbox", name="Your question")).to_be_visible()
    expect(second.get_by_role("heading", level=1)).to_have_text("Please sign in")


def test_a_person_who_is_not_signed_in_comes_back_to_where_they_wanted(
    site: Site, opened: Opened
) -> None:
    page = opened(member=False)
    page.goto("/runs?before=")
    page.get_by_label("Name").fill(site.installation.gate.owner().principal.name)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill("a long word for the tests 7")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/runs?before=")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/documents")
    page.wait_for_url("**/sign-in?next=%2Fdocuments")


def test_a_run_keeps_answer_steps_sources_and_receipt(opened: Opened) -> None:
    page = opened()
    ask(page)
    told = page.locator("#answer-live").inner_text()
    page.get_by_role("link", name="Open the run").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(QUESTION)
    assert page.locator(".prose").inner_text() == told
    page.get_by_text(re.compile("2 searches")).click()
    expect(page.get_by_text("Compared every quotation with its source")).to_be_visible()
    page.get_by_text("Check it yourself").click()
    for name, begins in (("Receipt", b'{"admitted"'), ("Answer as text", b"The card costs")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        assert download.value.path().read_bytes().startswith(begins)
    page.get_by_role("link", name="See what each sentence rests on").click()
    expect(page.get_by_text("The card costs 12 euros a year for adults.")).to_be_visible()


def test_nothing_answers_is_said_plainly(opened: Opened) -> None:
    page = opened()
    ask(page, "Who won the football world cup in 2014?")
    expect(page.locator("#answer-live")).to_contain_text("Nothing in these documents answers")
    expect(page.get_by_text("Try other words")).to_be_visible()


def test_an_empty_and_a_too_long_question_are_told_beside_the_field(opened: Opened) -> None:
    page = opened()
    page.goto("/")
    field = page.get_by_role("textbox", name="Your question")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("Write a question first.")).to_be_visible()
    expect(field).to_be_focused()
    field.fill("x" * 8001)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("That question is too long: 8,000 characters")).to_be_visible()
    field.fill("y" * 1_000_000)
    page.get_by_role("button", name="Ask").click()
    expect(field).to_have_attribute("aria-invalid", "true")


def test_a_broken_connection_is_told_in_place(opened: Opened) -> None:
    page = opened()
    page.goto("/")
    page.route("**/ask", lambda route: route.abort())
    page.get_by_role("textbox", name="Your question").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing is lost: the run is on the record.")).to_be_visible()
    expect(page.locator(".steps")).to_be_hidden()  # there were none
    expect(page.get_by_role("button", name="Ask")).to_be_enabled()


def test_an_error_in_the_stream_appears_in_place(site: Site, opened: Opened) -> None:
    page = opened()
    page.goto("/")
    page.context.clear_cookies()
    page.get_by_role("textbox", name="Your question").fill(QUESTION)
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert").filter(has_text="Please sign in")
    expect(alert.get_by_role("link", name="Sign in")).to_be_visible()
    expect(page.locator(".steps")).to_be_hidden()


def test_words_of_a_document_never_act(opened: Opened, complaints: list[str]) -> None:
    page = opened()
    ask(page, "What does the wicket cost?")
    expect(page.locator("#sources")).to_contain_text("<script>document.title='owned'</script>")
    expect(page.locator("#sources")).to_contain_text("wicket <b>.txt")
    expect(page).to_have_title("Ask your documents · Casemate")
    expect(page.locator("#answer .label").first).to_contain_text("UNCLASSIFIED")
    expect(page.locator("#answer .label").last).to_contain_text("UNCLASSIFIED")
    page.locator(".source-foot a").first.click()
    expect(page.locator("mark#passage")).to_be_visible()
    assert complaints == []


def test_an_answer_can_be_stopped_and_the_record_says_so(
    site: Site, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = site.installation.ask

    async def endless(caller: Caller, request: Request) -> AsyncGenerator[Event, None]:
        async with aclosing(answer(caller, request)) as events:
            async for event in events:
                yield event
                if isinstance(event, Text):
                    await asyncio.Event().wait()

    monkeypatch.setattr(site.installation, "ask", endless)
    page = opened()
    page.goto("/")
    page.get_by_role("textbox", name="Your question").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".cite")).to_be_visible()
    expect(page.locator("#answer .label")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("link", name=QUESTION).first.click()
    expect(page.get_by_text("This run ended without an answer.")).to_be_visible()
