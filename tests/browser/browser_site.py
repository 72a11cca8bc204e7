"""What the browser tests share: the running site, and how one asks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Page, expect

from casemate.installation import Installation

QUESTION = "How much is a library card for an adult, and how long can I keep a book?"
Opened = Callable[..., Page]


@dataclass
class Site:
    """A running installation with fictional documents in it."""

    base_url: str
    sign_in_link: Callable[[], str]  # a new one at each call: a link works once
    installation: Installation = field(repr=False)


def ask(page: Page, question: str = QUESTION) -> None:
    page.goto("/")
    page.get_by_role("textbox", name="Your question").fill(question)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("region", name="Receipt")).to_be_visible()
