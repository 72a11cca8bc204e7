"""The process around the server: its settings and its threads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from house_builders import DOG_TAX, FEES, House, a_house, a_server, an_environment, command

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


def test_a_client_that_goes_away_does_not_take_the_server_with_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        key = house.key(house.owner.principal.name)
    body = json.dumps({"question": DOG_TAX}).encode()
    head = (
        "POST /api/runs HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with a_server(data) as server:
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(head.encode() + body)
            client.recv(1)
            # Reset, so that what the server writes next comes to nobody.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert server.ask(DOG_TAX, key=key).status == 200
        assert server.process.poll() is None
        # Whether a write meets it is a matter of microseconds; that the signal would kill is not.
        ignored = (Path("/proc") / str(server.process.pid) / "status").read_text()
        mask = int(ignored.split("SigIgn:")[1].split()[0], 16)
        assert mask & (1 << (signal.SIGPIPE - 1))


def test_a_command_whose_reader_goes_away_ends_quietly(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
    with subprocess.Popen(
        command("ledger", "export", data=data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=an_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert told == b""
    assert process.returncode == 1
