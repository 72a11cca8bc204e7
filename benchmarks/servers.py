"""Servers: the same small application on uvicorn, Granian and hypercorn, on one core each.

The application reads a body of 1 KB and answers with 1 KB, so that what differs is the server. Each
has one process; they take turns, round by round. Then both versions of HTTP are compared, by one
client that speaks them (h2load, of Debian's nghttp2-client), where a server has the second: with 32
connections, and with 32 requests at a time on one. Without an environment, only our server is.

    uv venv SERVERS && uv pip install --python SERVERS/bin/python uvicorn httptools uvloop granian \
        hypercorn h2
    python benchmarks/servers.py SERVERS
    python benchmarks/servers.py
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
OURS_NAME = "uvicorn as Casemate has it"
VERSIONS = {
    "HTTP/1.1, 32 connections": ["--h1", "--clients", "32"],
    "HTTP/2, 32 connections": ["--clients", "32"],
    "HTTP/2, 32 streams of one": ["--clients", "1", "--max-concurrent-streams", "32"],
}
QUIET = ["--log-level", "critical", "--no-access-log"]


def commands(servers: Path | None, folder: Path) -> dict[str, tuple[list[str], int]]:
    """How each is started, and on which port."""
    found = {} if servers is None else others(servers)
    port = _free_port()
    script = OURS.format(folder=str(folder), port=port)
    found[OURS_NAME] = ([sys.executable, "-c", script], port)
    return found


def others(servers: Path) -> dict[str, tuple[list[str], int]]:
    """The same of those that we did not choose, or not in this form."""
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
    return found


def by_version(gateway: Gateway, version: str, folder: Path, requests: int) -> None:
    """Let h2load send so many requests of 1 KB; whoever does not speak ``version`` is left out."""
    body = folder / "body"
    body.write_bytes(b"x" * 1024)
    command = ["h2load", "--requests", str(requests), "--data", str(body), *VERSIONS[version]]
    before = gateway.cpu
    ran = subprocess.run(
        [*command, f"http://127.0.0.1:{gateway.port}/"],
        capture_output=True,
        text=True,
        preexec_fn=pinned(CLIENTS_CORE),
    )
    rate = re.search(r"([0-9.]+) req/s", ran.stdout)
    done = re.search(r"(\d+) succeeded", ran.stdout)
    if rate and done and int(done[1]) == requests:
        figures = {"rate": float(rate[1]), "cpu": (gateway.cpu - before) / requests}
        gateway.found.setdefault(version, []).append(figures)


def measured(servers: Path | None, rounds: int, seconds: float, requests: int) -> None:
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
        if shutil.which("h2load") is None:
            print("The versions of HTTP are not compared: h2load is not installed.")
            return
        for _ in range(rounds):
            for version in VERSIONS:
                for one in gateways:
                    by_version(one, version, folder, requests)
        print(f"\n{'1 KB in and out':<28} {'':<26} {'req/s':>8} {'CPU µs':>7}")
        for one in gateways:
            for version in VERSIONS:
                if version in one.found:
                    rate, cpu = one.median(version, "rate"), one.median(version, "cpu") * 1e6
                    print(f"{one.name:<28} {version:<26} {rate:8.0f} {cpu:7.0f}")
                else:
                    print(f"{one.name:<28} {version:<26} {'not spoken':>16}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "servers", type=Path, nargs="?", help="virtual environment that holds the others"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--requests", type=int, default=20_000, help="of each version a round")
    chosen = parser.parse_args()
    measured(chosen.servers, chosen.rounds, chosen.seconds, chosen.requests)


if __name__ == "__main__":
    main()
