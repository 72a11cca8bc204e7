"""llama.cpp's server on a model, for comparisons; in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SERVE = """
import os, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_parallel, params.n_ctx, params.n_gpu_layers = 1, 1024, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup = params.ui = params.fit_params = False
params.verbosity = 0
server = xllamacpp.Server(params)
print("at", server.listening_address, flush=True)
sys.stdin.read()
os._exit(0)
"""


class LlamaServer:
    """Serves ``weights`` on a local port until it is left."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights

    def __enter__(self) -> LlamaServer:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self._weights)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("at "):
                self._address = line.split()[1]
                return self
        raise RuntimeError("llama.cpp did not start.")

    def __exit__(self, *problem: object) -> None:
        self._process.communicate("", timeout=20)

    @property
    def address(self) -> str:
        return f"{self._address}/v1"

    def tokens(self, content: str | Sequence[int | str], *, special: bool = False) -> list[int]:
        body = {"content": content, "add_special": False, "parse_special": special}
        return list(self.ask("/tokenize", body)["tokens"])

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self._address + path,
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
