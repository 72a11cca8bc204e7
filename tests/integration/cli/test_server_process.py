"""The process around the server: its settings and its threads."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from house_builders import House, a_server

from casemate import server


def test_a_new_data_folder_does_not_take_the_settings_of_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text("prot = 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with a_server(tmp_path / "data") as running:
        assert running.http("GET", "/readyz").status == 200


def test_many_who_wait_do_not_keep_others_from_a_thread(house: House) -> None:
    meeting = threading.Barrier(60, timeout=30)
    met: list[object] = []

    async def meet() -> None:
        try:
            met.extend(
                await asyncio.gather(
                    *(asyncio.to_thread(meeting.wait) for _ in range(60)), return_exceptions=True
                )
            )
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    tasks: list[asyncio.Task[None]] = []

    def say(line: str) -> None:
        if line.startswith("Stop with"):
            tasks.append(asyncio.get_running_loop().create_task(meet()))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(server._run(house.installation, listener, say))
    assert sorted(map(str, met)) == sorted(map(str, range(60)))


def test_a_server_applies_retention_as_soon_as_it_runs(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def daily() -> list[object]:
        os.kill(os.getpid(), signal.SIGTERM)  # it would wait for ever if this were not called
        return []

    monkeypatch.setattr(house.installation.retention, "daily", daily)
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(server._run(house.installation, listener, said.append))
    assert said == [] or said[-1].startswith("Stop with")
