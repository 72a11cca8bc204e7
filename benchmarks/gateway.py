"""The gateway beside others: requests a second, latency, memory and streams, in one run.

Casemate with everything on (key, Cedar decision, label, quota, two durable entries a request), a
bare asyncio proxy with the same checks (``gateway_bare.py``), LiteLLM's proxy and Portkey's gateway
without any, all in front of one model server that is a script. Each gateway has one core, the
clients and the model server another; they take turns, round by round, and ratios are of the
medians of the rounds.

Portkey's gateway 1.15.2 answers every stream with 500 ("immutable") where npm gives it a
@hono/node-server from 1.14 on, as it does unless told otherwise: that hands on the headers of the
model server's response as they are, and Portkey adds to them, which fetch forbids.

    uv venv LITELLM && uv pip install --python LITELLM/bin/python 'litellm[proxy]'
    echo '{"overrides": {"@hono/node-server": "1.13.7"}}' > PORTKEY/package.json
    npm install --prefix PORTKEY @portkey-ai/gateway
    python benchmarks/gateway.py --litellm LITELLM --portkey PORTKEY
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from casemate.gate.caller import Caller
from casemate.installation import Installation
from casemate.models.manifest import Manifest

HERE = Path(__file__).parent
GATEWAY_CORE, CLIENTS_CORE = 0, 1
CLIENTS = (1, 32, 128)
STREAMS, PIECES = 100, 100
HELD = 2_000
SETTINGS = {
    "CASEMATE_CONCURRENT_RUNS": "10000",
    "CASEMATE_WAITING_RUNS": "100000",
    "CASEMATE_CONNECTIONS": "100000",
}
# Syncs that a request of Casemate waits for, one after the other: of what was said, and of the
# ledger's journal; before the model is asked, and before the answer's end leaves.
SYNCS = 4
TICKS = os.sysconf("SC_CLK_TCK")
SENTENCE = "What is the fee for adults, and what do children pay at the counter? "


def pinned(*cores: int) -> Callable[[], None]:
    """For a child process: to stay on these cores."""
    there = os.cpu_count() or 1
    return lambda: os.sched_setaffinity(0, {core % there for core in cores})


@dataclass
class Gateway:
    """One gateway, running. ``asked``: the body of a request, without what is asked."""

    name: str
    port: int
    path: str
    headers: dict[str, str]
    model: str
    process: subprocess.Popen[Any] | None
    ready: float = 0.0  # seconds from its start to its first answer
    memory: int = 0  # MiB after the first answer
    streams: bool = True  # whether it can
    found: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def spec(self, clients: int, *, stream: bool = False, order: str = "", **more: Any) -> str:
        """What clients are to do, as ``gateway_load`` reads it."""
        text = (order + " " + SENTENCE * 14)[:900]  # with the rest, 1 KB
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
        }
        if stream:
            body["stream"] = True
        return json.dumps(
            {
                "host": "127.0.0.1",
                "port": self.port,
                "path": self.path,
                "headers": self.headers,
                "body": body,
                "clients": clients,
                **more,
            }
        )

    @property
    def cpu(self) -> float:
        """Seconds of processor that it has used, with its children."""
        return sum(_cpu(pid) for pid in self._pids())

    @property
    def own(self) -> float:
        """Seconds of processor of its first process alone: of several, the one that writes."""
        return 0.0 if self.process is None else _cpu(self.process.pid)

    @property
    def resident(self) -> int:
        """MiB of memory, with its children."""
        found = 0
        for pid in self._pids():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                held = re.search(r"VmRSS:\s+(\d+)", status)
                found += int(held[1]) if held else 0
        return found >> 10

    def _pids(self) -> list[int]:
        if self.process is None:
            return []
        known, found = [self.process.pid], []
        while known:
            pid = known.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                known += map(int, children)
        return found

    def measure(self, name: str, mode: str, spec: str) -> dict[str, float]:
        """Let clients do something, and keep the figures under ``name``."""
        before, own = self.cpu, self.own
        figures = clients(mode, spec)
        figures["cpu"] = (self.cpu - before) / max(1, figures["requests"])
        figures["own"] = (self.own - own) / max(1, figures["requests"])
        figures["resident"] = self.resident
        self.found.setdefault(name, []).append(figures)
        return figures

    def median(self, name: str, figure: str) -> float:
        """Of all rounds."""
        return statistics.median(one[figure] for one in self.found[name])


def _cpu(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def clients(mode: str, spec: str) -> dict[str, float]:
    """Run clients to their end; what they saw."""
    ran = subprocess.run(
        [sys.executable, HERE / "gateway_load.py", mode, spec],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=pinned(CLIENTS_CORE),
    )
    figures: dict[str, Any] = json.loads(ran.stdout)
    if figures["errors"]:
        print(f"{figures['errors']} requests failed: {figures['sample'].splitlines()[:1]}")
    return figures


@contextlib.contextmanager
def running(  # type: ignore[type-arg]
    command: list[str], cores: tuple[int, ...], log: Path, **options: Any
) -> Iterator[subprocess.Popen]:
    """A process on these cores, ended when the block ends."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stderr=errors,
            text=True,
            preexec_fn=pinned(*cores),
            **{"stdout": subprocess.PIPE, **options},
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def furnish(folder: Path, port: int) -> str:
    """A data folder with a use case that asks the model server directly; the key of its owner."""
    with Installation.open(folder) as house:
        gate, owner = house.gate, house.gate.owner()
        lowest = gate.country.policy.lowest()
        gate.principals.create(owner, "second", clearance=lowest, roles=("admin",))
        second = Caller(gate.principals.named("second"), None, "local")
        gate.perimeter.add(
            owner,
            name="models",
            host="127.0.0.1",
            ports=(port,),
            jurisdiction="LU",
            ceiling=lowest,
        )
        manifest = Manifest.new(
            name="mock",
            version="1",
            engine="remote",
            architecture="A script.",
            licence="EUPL-1.2",
            origin="This benchmark.",
            intended_use="Measuring.",
            limits="Always says the same.",
            label="unclassified",
            address=f"http://127.0.0.1:{port}/v1",
            upstream="mock",
        )
        house.models.propose(owner, manifest)
        house.models.approve(second, "mock")
        gate.capacities.declare(owner, "mock", slots=10_000, accelerators=1, watts=500)
        gate.use_cases.register(
            owner,
            "chat",
            purpose="To measure.",
            legal_basis="None; a benchmark.",
            risk="minimal",
            models=("mock",),
            ceiling=lowest,
            oversight="none",
            retention_days=400,
            collections=(),
            screening=gate.use_cases.not_prohibited("It is a benchmark."),
        )
        gate.use_cases.approve(second, "chat")
        return gate.keys.create(owner, owner.principal.name)[1]


class Yard:
    """Everything that runs for this benchmark, ended when the block ends."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self._folder = folder
        self._workers = workers
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        load = [sys.executable, str(HERE / "gateway_load.py"), "upstream"]
        server = self._start(load, (CLIENTS_CORE,), "upstream")
        self.upstream = int(server.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def direct(self) -> Gateway:
        """No gateway: the clients ask the model server."""
        gateway = Gateway(
            "model server alone", self.upstream, "/v1/chat/completions", {}, "mock", None
        )
        return gateway

    def casemate(self) -> Gateway:
        """Casemate, with everything on."""
        data = self._folder / "casemate"
        key = furnish(data, self.upstream)
        environment = {**os.environ, "CASEMATE_DATA": str(data), **SETTINGS}
        began = time.perf_counter()
        command = [sys.executable, "-m", "casemate", "up", "--port", "0"]
        cores: tuple[int, ...] = (GATEWAY_CORE,)
        if self._workers > 1:  # a core for each, and one for who writes; the clients keep theirs
            command += ["--workers", str(self._workers)]
            cores = (GATEWAY_CORE, *range(CLIENTS_CORE + 1, CLIENTS_CORE + 1 + self._workers))
        process = self._start(command, cores, "casemate", env=environment)
        port = int(re.search(r":(\d+)", process.stdout.readline().partition("//")[2])[1])  # type: ignore[index]
        headers = {"authorization": f"Bearer {key}"}
        gateway = Gateway("Casemate", port, "/v1/chat/completions", headers, "chat", process)
        return self._answering(gateway, began)

    def bare(self) -> Gateway:
        """The bare proxy with the same checks."""
        folder = self._folder / "bare"
        folder.mkdir()
        key = f"cm_{'a' * 10}_{'B' * 43}"
        began = time.perf_counter()
        script = str(HERE / "gateway_bare.py")
        command = [sys.executable, script, str(folder), str(self.upstream), key]
        process = self._start(command, (GATEWAY_CORE,), "bare")
        port = int(process.stdout.readline())
        headers = {"authorization": f"Bearer {key}"}
        gateway = Gateway("bare proxy", port, "/v1/chat/completions", headers, "chat", process)
        return self._answering(gateway, began)

    def litellm(self, environment: Path) -> Gateway:
        """LiteLLM's proxy, in the virtual environment that holds it."""
        port, config = _free_port(), self._folder / "litellm.yaml"
        config.write_text(
            "model_list:\n- model_name: mock\n  litellm_params:\n    model: openai/mock\n"
            f"    api_base: http://127.0.0.1:{self.upstream}/v1\n    api_key: none\n"
        )
        began = time.perf_counter()
        command = [str(environment / "bin" / "litellm"), "--config", str(config)]
        command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        process = self._start(
            command,
            (GATEWAY_CORE,),
            "litellm",
            stdout=subprocess.DEVNULL,
            env={
                **os.environ,
                "LITELLM_LOG": "ERROR",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download
                "LITELLM_MASTER_KEY": "sk-" + "5" * 64,  # it does not start without
            },
        )
        headers = {"authorization": "Bearer sk-" + "5" * 64}
        gateway = Gateway("LiteLLM", port, "/v1/chat/completions", headers, "mock", process)
        return self._answering(gateway, began)

    def portkey(self, folder: Path) -> Gateway:
        """Portkey's gateway, from the folder that npm installed it in."""
        port = _free_port()
        script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        began = time.perf_counter()
        process = self._start(
            ["node", str(script), "--headless", f"--port={port}"],
            (GATEWAY_CORE,),
            "portkey",
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        )
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{self.upstream}/v1",
            "authorization": "Bearer none",
        }
        gateway = Gateway("Portkey", port, "/v1/chat/completions", headers, "mock", process)
        gateway = self._answering(gateway, began)
        gateway.streams = self._status(gateway, stream=True) == 200
        if not gateway.streams:
            print("Portkey is left out of streams; --help says why it cannot give them.")
        return gateway

    def _start(self, command: list[str], cores: tuple[int, ...], name: str, **options: Any) -> Any:
        log = self._folder / f"{name}.log"
        return self._stack.enter_context(running(command, cores, log, **options))

    def _status(self, gateway: Gateway, *, stream: bool) -> int:
        """Of the answer to one request."""
        body = json.loads(gateway.spec(1, stream=stream))["body"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{gateway.port}{gateway.path}",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json", **gateway.headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                response.read()
                return int(response.status)
        except urllib.error.HTTPError as problem:
            return problem.code

    def _answering(self, gateway: Gateway, began: float) -> Gateway:
        """Wait until it answers as it should."""
        spec = json.loads(gateway.spec(1))
        request = urllib.request.Request(
            f"http://127.0.0.1:{gateway.port}{gateway.path}",
            data=json.dumps(spec["body"]).encode(),
            headers={"content-type": "application/json", **gateway.headers},
        )
        problem: object = None
        while time.perf_counter() - began < 120:
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    response.read()
                gateway.ready = time.perf_counter() - began
                gateway.memory = gateway.resident
                return gateway
            except urllib.error.HTTPError as error:
                problem = error.read()[:300]
            except OSError as error:
                problem = error
            time.sleep(0.02)
        raise SystemExit(f"{gateway.name} does not answer: {problem!r}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def synced(folder: Path, times: int = 50) -> float:
    """Seconds of one fsync of a small file in ``folder``, median."""
    found = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 600)
            began = time.perf_counter()
            os.fsync(file.fileno())
            found.append(time.perf_counter() - began)
    return statistics.median(found)


def answers(gateways: list[Gateway], rounds: int, seconds: float) -> None:
    """Requests a second, by turns."""
    for gateway in gateways:
        clients("ask", gateway.spec(8, times=25))  # warm
    for _ in range(rounds):
        for count in CLIENTS:
            for gateway in gateways:
                gateway.measure(f"{count} clients", "ask", gateway.spec(count, seconds=seconds))
    head = f"{'clients':>7} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} CPU ms/req"
    print(f"\n{'whole answers':<22} {head}")
    for gateway in gateways:
        for count in CLIENTS:
            of = f"{count} clients"
            cpu = "" if gateway.process is None else f"{gateway.median(of, 'cpu') * 1e3:10.3f}"
            p50, p99 = (gateway.median(of, name) * 1e3 for name in ("p50", "p99"))
            rate = gateway.median(of, "rate")
            line = f"{gateway.name:<22} {count:>7} {rate:8.0f} {p50:8.2f} {p99:8.2f} {cpu}"
            several = gateway.process is not None and len(gateway._pids()) > 1
            print(
                line + (f", {gateway.median(of, 'own') * 1e3:.3f} of who writes" if several else "")
            )


def streams(gateways: list[Gateway], rounds: int) -> None:
    """Streams side by side, and the time to the first piece of one alone."""
    order = f"pieces:{PIECES} pause:0"
    for _ in range(rounds):
        for gateway in gateways:
            many = gateway.spec(STREAMS, stream=True, order=order, times=1)
            gateway.measure("streams", "stream", many)
            alone = gateway.spec(1, stream=True, order="pieces:4 pause:0.01", times=20)
            gateway.measure("first piece", "stream", alone)
    print(f"\n{STREAMS} streams of {PIECES} pieces       pieces/s   first piece of one, ms")
    for gateway in gateways:
        print(
            f"{gateway.name:<30} {gateway.median('streams', 'pieces'):9.0f}   "
            f"{gateway.median('first piece', 'first') * 1e3:9.2f}"
        )


def held(gateway: Gateway, count: int) -> None:
    """Memory while many streams are open and say something now and then."""
    before = gateway.resident
    spec = gateway.spec(count, stream=True, order="pieces:100 pause:5", times=1)
    with subprocess.Popen(
        [sys.executable, HERE / "gateway_load.py", "hold", spec],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(CLIENTS_CORE),
    ) as holding:
        told = json.loads(holding.stdout.readline())  # type: ignore[union-attr]
        time.sleep(2)
        after = gateway.resident
        print(
            f"{gateway.name:<22} {count:,} streams open: {after} MiB ({after - before} more than "
            f"before), {told['errors']} failed"
        )
        holding.stdin.close()  # type: ignore[union-attr]


def ratios(gateways: list[Gateway], sync: float) -> None:
    """What the goals are set in."""
    by_name = {gateway.name: gateway for gateway in gateways}
    own, alone = by_name["Casemate"], by_name["model server alone"]
    print("\nratios and goals")

    def best(gateway: Gateway) -> float:
        return max(gateway.median(f"{count} clients", "rate") for count in CLIENTS)

    for name, goal in (("LiteLLM", "40"), ("Portkey", "3"), ("bare proxy", "0.6")):
        if name in by_name:
            rates = [(f"{count} clients", "rate") for count in CLIENTS]
            of = [f"{own.median(*one) / by_name[name].median(*one):.2f}" for one in rates]
            print(
                f"requests/s: Casemate / {name:<12} {' / '.join(of)} at {CLIENTS} clients, "
                f"best of each {best(own) / best(by_name[name]):.2f} (goal {goal})"
            )
    added = own.median("1 clients", "p50") - alone.median("1 clients", "p50")
    print(
        f"added p50 at one client {added * 1e3:.2f} ms, beyond {SYNCS} syncs of "
        f"{sync * 1e3:.2f} ms {(added - SYNCS * sync) * 1e3:.2f} ms (goal 3)"
    )
    print(f"p99 at 32 clients {own.median('32 clients', 'p99') * 1e3:.2f} ms (goal 25)")
    if "LiteLLM" in by_name:
        many = own.median("streams", "pieces") / by_name["LiteLLM"].median("streams", "pieces")
        print(f"pieces/s: Casemate / LiteLLM {many:.1f} (goal 20)")
    first = own.median("first piece", "first") - alone.median("first piece", "first")
    print(
        f"added time to the first piece {first * 1e3:.2f} ms, beyond {SYNCS // 2} syncs "
        f"{(first - SYNCS // 2 * sync) * 1e3:.2f} ms (goal 5)"
    )
    print(f"start to first answer {own.ready:.2f} s (goal 2)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--held", type=int, default=HELD)
    parser.add_argument("--workers", type=int, default=1, help="processes of Casemate that serve")
    parser.add_argument("--litellm", type=Path, help="virtual environment with litellm[proxy]")
    parser.add_argument("--portkey", type=Path, help="folder with node_modules/@portkey-ai/gateway")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DISK")) as made,
        Yard(Path(made), chosen.workers) as yard,
    ):
        gateways = [yard.direct(), yard.casemate(), yard.bare()]
        if chosen.litellm is not None:
            gateways.append(yard.litellm(chosen.litellm))
        else:
            print("LiteLLM is left out: name its virtual environment with --litellm.")
        if chosen.portkey is not None:
            gateways.append(yard.portkey(chosen.portkey))
        else:
            print("Portkey is left out: name the folder that npm installed it in with --portkey.")
        sync = synced(Path(made))
        print(f"one fsync of the disk {sync * 1e3:.2f} ms")
        for gateway in gateways[1:]:
            print(f"{gateway.name:<22} ready after {gateway.ready:6.2f} s, {gateway.memory:5} MiB")
        answers(gateways, chosen.rounds, chosen.seconds)
        streams([one for one in gateways if one.streams], chosen.rounds)
        print()
        for gateway in gateways[1:]:
            if gateway.name in ("Casemate", "bare proxy"):
                held(gateway, chosen.held)
        ratios(gateways, sync)


if __name__ == "__main__":
    main()
