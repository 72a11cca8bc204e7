"""Cold start: a question from a new process, a server until it is ready, its idle memory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from figures import line, timed

CASEMATE = [sys.executable, "-m", "casemate"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "data")
        environment = {**os.environ, "CASEMATE_DATA": data}
        subprocess.run([*CASEMATE, "demo", "--data", data], check=True, stdout=subprocess.DEVNULL)

        def run(*arguments: str) -> None:
            subprocess.run(
                [*CASEMATE, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment
            )

        print(line("casemate --version (floor of a process)", timed(9, lambda: run("--version"))))
        print(
            line("casemate ask, cold", timed(9, lambda: run("ask", "Wat kascht eng Parkvignette?")))
        )
        starts = []
        memory = 0
        for _ in range(5):
            seconds, memory = start(environment)
            starts.append(seconds)
        print(line("casemate up, until /readyz is 200", starts))
        print(f"{'idle memory (RSS) after one question':<44} {memory / 1024:9.1f} MiB")
    site = Path(sysconfig.get_paths()["purelib"])
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    print(f"{'site-packages of this environment':<44} {size / 1e6:9.1f} MB")


def start(environment: dict[str, str]) -> tuple[float, int]:
    """Seconds until ready, and resident KiB after one question over HTTP."""
    begun = time.perf_counter()
    server = subprocess.Popen(
        [*CASEMATE, "up", "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout is not None
    address = re.search(r"http://\S+", server.stdout.readline())
    assert address is not None
    while True:
        try:
            if urllib.request.urlopen(f"{address[0]}/readyz").status == 200:
                break
        except urllib.error.URLError:
            continue
    seconds = time.perf_counter() - begun
    made = subprocess.run(
        [*CASEMATE, "key", "create", "--principal", owner(environment), "--json"],
        check=True,
        capture_output=True,
        env=environment,
    )
    request = urllib.request.Request(
        f"{address[0]}/api/runs",
        data=json.dumps({"question": "Wat kascht eng Parkvignette?"}).encode(),
        headers={
            "authorization": f"Bearer {json.loads(made.stdout)['key']}",
            "content-type": "application/json",
        },
    )
    urllib.request.urlopen(request).read()
    status = Path(f"/proc/{server.pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    assert resident is not None
    server.send_signal(signal.SIGTERM)
    server.wait()
    return seconds, int(resident[1])


def owner(environment: dict[str, str]) -> str:
    found = subprocess.run(
        [*CASEMATE, "status", "--json"], check=True, capture_output=True, env=environment
    )
    name: str = json.loads(found.stdout)["principal"]
    return name


if __name__ == "__main__":
    main()
