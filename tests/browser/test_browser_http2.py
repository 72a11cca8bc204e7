"""A browser over TLS: more open answers of one page at a time than HTTP/1.1 has connections for."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from certificate_builders import SERVER, a_certificate, loopback
from playwright.sync_api import Browser

from casemate import api, server
from casemate.settings import Settings

STREAMS = 12
PAGE = b"""<!doctype html><title>Streams</title><link rel=icon href=data:,><script>
const told = Array.from({length: %d}, (_, n) => new Promise((done) => {
  const source = new EventSource(`/events/${n}`);
  source.onmessage = (event) => { source.close(); done(event.data); };
}));
window.told = Promise.all(told);
</script>"""

pytestmark = pytest.mark.browser


class App:
    """A page, and streams that say something once all of them are open."""

    def __init__(self) -> None:
        self.versions: set[str] = set()
        self.open = 0
        self.all_open = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.versions.add(scope["http_version"])
        events = scope["path"].startswith("/events/")
        media = b"text/event-stream" if events else b"text/html"
        headers = [(b"content-type", media)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if events:
            self.open += 1
            if self.open == STREAMS:
                self.all_open.set()
            await self.all_open.wait()
            told = scope["path"].rpartition("/")[2].encode()
            said = {"type": "http.response.body", "body": b"data: %s\n\n" % told}
            await send({**said, "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await send({"type": "http.response.body", "body": PAGE % STREAMS})


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[str, App]]:
    """An address with TLS, and what answers there."""
    now = datetime.datetime.now(datetime.UTC)
    a_certificate(None, now, names=(loopback(),), purpose=SERVER).write(tmp_path / "server.pem")
    context = api.tls.context(Settings(tls_certificate="server.pem"), tmp_path)
    app, listener = App(), server._listen("127.0.0.1", 0)
    running = uvicorn.Server(server._config(app, 100, drain=5, secured=context))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}", app
    running.should_exit = True
    thread.join(30)


def test_a_page_has_more_streams_open_than_six(browser: Browser, secured: tuple[str, App]) -> None:
    address, app = secured
    with browser.new_context(ignore_https_errors=True) as context:
        page = context.new_page()
        page.goto(address)
        assert page.evaluate("window.told") == [str(n) for n in range(STREAMS)]
        protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert page.evaluate(protocol) == "h2"
    assert app.versions == {"2"}
