from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from browser_site import Site
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    StorageState,
    sync_playwright,
)

from casemate.installation import Installation
from casemate.server import application

# Without the flags after the second, Chromium looks for its makers' servers at start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHELVES = {
    "fees": ("fees/gebuehrenordnung.pdf",),
    "leisure": ("leisure/library.html", "leisure/sporthalle.md"),
    "animals": ("animals/hundehaltung.txt",),
}
HOSTILE = (
    "The wicket <script>document.title='owned'</script> costs 7 euros <img src=x onerror=a()>."
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site") / "data"
    with Installation.open(folder) as installation, socket.create_server(("127.0.0.1", 0)) as door:
        _fill(installation)
        server = uvicorn.Server(
            uvicorn.Config(application(installation), lifespan="off", log_level="warning")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        thread.start()
        # the kernel queues connections to a listening socket, so nothing has to wait here
        base = f"http://127.0.0.1:{door.getsockname()[1]}"

        def link() -> str:
            owner = installation.gate.owner().principal
            return f"{base}/sign-in/{installation.gate.sessions.link_for(owner)}"

        yield Site(base, link, installation)
        server.should_exit = True
        thread.join(10)


def _fill(installation: Installation) -> None:
    owner = installation.gate.owner()
    corpus = files("casemate.demo").joinpath("corpus")
    for shelf, paths in SHELVES.items():
        installation.library.create_collection(owner, shelf)
        for path in paths:
            content = corpus.joinpath(*path.split("/")).read_bytes()
            installation.library.add(owner, shelf, path.rpartition("/")[2], content)
    installation.library.add(owner, "leisure", "wicket <b>.txt", HOSTILE.encode())
    installation.gate.principals.set_password(
        owner, owner.principal.name, "a long word for the tests 7"
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def signed_in(site: Site, browser: Browser) -> StorageState:
    context = browser.new_context(base_url=site.base_url, locale="en-GB")
    page = context.new_page()
    page.goto(site.sign_in_link())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.base_url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def complaints() -> list[str]:
    """What browsers wrote to their consoles, or what scripts threw."""
    return []


@pytest.fixture
def opened(
    site: Site, browser: Browser, signed_in: StorageState, complaints: list[str]
) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser of one's own; what is signed in unless told otherwise."""
    contexts: list[BrowserContext] = []

    def open_page(*, width: int = 1280, member: bool = True, **options: Any) -> Page:
        context = browser.new_context(
            **{
                "base_url": site.base_url,
                "viewport": {"width": width, "height": 900},
                "locale": "en-GB",
                "storage_state": signed_in if member else None,
                **options,
            }
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.extend(_complaint(said)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()


def _complaint(said: ConsoleMessage) -> list[str]:
    return [said.text] if said.type in ("error", "warning") else []
