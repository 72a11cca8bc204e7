"""Servers: the same small application on uvicorn, Granian and hypercorn, on one core each.

The application reads a body of 1 KB and answers with 1 KB, so that what differs is the server. Each
has one process; they take turns, round by round. HTTP/2 is measured where a server has it, with a
client that speaks it (h2load, of Debian's nghttp2-client), or left out with its reason.

    uv venv SERVERS && uv pip install --python SERVERS/bin/python uvicorn httptools uvloop granian \
        hypercorn h2
    python benchmarks/servers.py SERVERS
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gateway import CLIENTS, CLIENTS_CORE, GATEWAY_CORE, Gateway, _free_port, pinned, running

APPLICATION = """
BODY = b"x" * 1024


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1024")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})
"""
OURS = """
import asyncio, sys
sys.path.insert(0, {folder!r})
import uvicorn
from app import app
from casemate import api, server

config = server._config(app, 100_000, drain=1)
asyncio.run(uvicorn.Server(config).serve([server._listen("127.0.0.1", {port})]))
"""
QUIET = ["--log-level", "critical", "--no-access-log"]


def commands(servers: Path, folder: Path) -> dict[str, tuple[list[str], int]]:
    """How each is started, and on which port."""
    found = {}
    python = str(servers / "bin" / "python")
    for loop in ("asyncio", "uvloop"):
        port = _free_port()
        start = [python, "-m", "uvicorn", "app:app", "--port", str(port), *QUIET]
        found[f"uvicorn, {loop}"] = ([*start, "--http", "httptools", "--loop", loop], port)
        port = _free_port()
        start = [str(servers / "bin" / "granian"), "--interface", "asgi", "--port", str(port)]
        start += ["--workers", "1", "--no-log", "--loop", loop, "app:app"]
        found[f"Granian, {loop}"] = (start, port)
        port = _free_port()
        start = [str(servers / "bin" / "hypercorn"), "--bind", f"127.0.0.1:{port}"]
        start += ["--worker-class", loop, "--log-level", "critical", "app:app"]
        found[f"hypercorn, {loop}"] = (start, port)
    port = _free_port()
    script = OURS.format(folder=str(folder), port=port)
    found["uvicorn as Casemate has it"] = ([sys.executable, "-c", script], port)
    return found


def over_http2(port: int, requests: int = 20_000) -> float | None:
    """Requests a second over HTTP/2 without TLS, 32 clients; None where that is not spoken."""
    h2load = shutil.which("h2load")
    if h2load is None:
        return None
    ran = subprocess.run(
        [h2load, "-n", str(requests), "-c", "32", f"http://127.0.0.1:{port}/"],
        capture_output=True,
        text=True,
        preexec_fn=pinned(CLIENTS_CORE),
    )
    found = re.search(r"([0-9.]+) req/s", ran.stdout)
    done = re.search(r"(\d+) succeeded", ran.stdout)
    return float(found[1]) if found and done and int(done[1]) == requests else None


def measured(servers: Path, rounds: int, seconds: float) -> None:
    """Start them all, and measure them by turns."""
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        (folder / "app.py").write_text(APPLICATION)
        gateways = []
        for name, (command, port) in commands(servers, folder).items():
            log, environment = folder / f"{port}.log", {**os.environ, "PYTHONPATH": str(folder)}
            options = {"cwd": folder, "stdout": subprocess.DEVNULL, "env": environment}
            process = stack.enter_context(running(command, GATEWAY_CORE, log, **options))
            gateways.append(Gateway(name, port, "/", {}, "x", process))
        time.sleep(3)
        for _ in range(rounds):
            for count in CLIENTS:
                for one in gateways:
                    one.measure(f"{count} clients", "ask", one.spec(count, seconds=seconds))
        heads = f"{'clients':>7} {'req/s':>8} {'p99 ms':>8} {'CPU µs':>7} {'MiB':>5}"
        print(f"{'one core, 1 KB in and out':<28} {heads}")
        for one in gateways:
            for count in CLIENTS:
                of = f"{count} clients"
                rate, p99 = one.median(of, "rate"), one.median(of, "p99") * 1e3
                cpu, held = one.median(of, "cpu") * 1e6, one.median(of, "resident")
                print(f"{one.name:<28} {count:>7} {rate:8.0f} {p99:8.2f} {cpu:7.0f} {held:5.0f}")
        for one in gateways:
            rate = over_http2(one.port)
            told = "not spoken, or no h2load here" if rate is None else f"{rate:.0f} req/s"
            print(f"{one.name:<28} HTTP/2: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("servers", type=Path, help="virtual environment that holds them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    chosen = parser.parse_args()
    measured(chosen.servers, chosen.rounds, chosen.seconds)


if __name__ == "__main__":
    main()
