"""A server on loopback for OpenAI's own client, over an installation in memory.

``server`` is all that the tests know of: an address and a key. To run them against another
installation, make ``server`` yield its address and a key for the use case "documents".
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

sys.path.append(str(Path(__file__).parents[2] / "unit" / "api"))

from fake_installation import KEY, FakeInstallation, an_application


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[str, str]]:
    """(base_url, api_key)"""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        running = _Server(
            uvicorn.Config(an_application(FakeInstallation()), log_level="error", lifespan="off")
        )
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        assert running.listening.wait(10)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", KEY
        running.should_exit = True
        thread.join(10)
