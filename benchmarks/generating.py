"""Generating: tokens a second of the llama engine against the same llama.cpp called directly.

    python benchmarks/generating.py [--rounds 5] [--tokens 128] [--threads N] [--large]

Both run the same weights in the same shape, one after the other in turns, with 1 and with 4 answers
at a time. "Directly" is llama.cpp's server with nothing around it: not isolated, its stream read
from a bare socket and only counted. On a busy machine the processor time for each token says more
than the clock. Also: how long it takes from nothing to the first token, against reading the file
once; both with the file in memory and, put out of it before each turn, from the disk.
The model is random weights of about 60 million parameters that this benchmark makes; --large adds
loading one of about 500 million.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "integration" / "engines"))

from llama_builders import Tiny, a_prompt

from casemate.engines.engine import Sampling
from casemate.engines.llama.engine import LlamaEngine

CONTEXT = 1024
SLOTS = 4
SERVER = """
import json, sys, xllamacpp
task = json.loads(sys.argv[1])
wanted = xllamacpp.CommonParams()
wanted.model.path, wanted.hostnames = task["weights"], [task["socket"]]
wanted.n_parallel, wanted.n_ctx = task["slots"], task["context"] * task["slots"]
wanted.n_gpu_layers, wanted.verbosity = 0, 0
wanted.fit_params = wanted.warmup = wanted.ui = False
wanted.special = True  # as many events as the engine has
wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = task["threads"]
server = xllamacpp.Server(wanted)
print("ready", flush=True)
sys.stdin.read()
"""


def sampling(tokens: int) -> Sampling:
    return Sampling(temperature=1.0, top_p=1.0, seed=3, max_tokens=tokens, repeatable=False)


async def through_casemate(engine: LlamaEngine, tokens: int) -> int:
    """Heard tokens; control tokens, which are none, are not among them."""
    heard = 0
    async with aclosing(engine.generate(a_prompt("How?"), sampling(tokens))) as stream:
        async for _ in stream:
            heard += 1
    return heard


async def directly(socket: str, tokens: int, probabilities: int) -> int:
    body = json.dumps(
        {
            "prompt": [1, 3, 136, 175, 4],
            "n_predict": tokens,
            "stream": True,
            "n_probs": probabilities,
            "return_tokens": True,
            "temperature": 1.0,
            "top_p": 1.0,
            "seed": 3,
            "ignore_eos": False,
        }
    ).encode()
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(
        b"POST /completion HTTP/1.1\r\nHost: model\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    writer.write(body)
    heard = 0
    while piece := await reader.read(1 << 16):
        heard += piece.count(b"data: ")
    writer.close()
    return heard - 1  # the last event holds none


async def rate(answer: Callable[[], Awaitable[int]], at_a_time: int, tokens: int) -> float:
    """Tokens a second: those that were computed, which are the same on both sides."""
    begun = time.perf_counter()
    await asyncio.gather(*(answer() for _ in range(at_a_time)))
    return at_a_time * tokens / (time.perf_counter() - begun)


async def main(arguments: argparse.Namespace, folder: Path) -> None:
    threads = arguments.threads
    tiny = Tiny.make(
        folder, hidden=768, layers=9, heads=12, kv_heads=4, feed_forward=2048, context=CONTEXT
    )
    endless(tiny.path)
    size = tiny.path.stat().st_size
    print(f"weights {size / 1e6:.0f} MB, {threads} threads, {SLOTS} slots, {os.uname().machine}")
    await loading(tiny, threads)
    if arguments.large:
        with tempfile.TemporaryDirectory() as other:
            shape = {"hidden": 2048, "layers": 10, "heads": 16, "kv_heads": 8}
            large = Tiny.make(Path(other), feed_forward=6144, context=CONTEXT, **shape)
            await loading(large, threads)
    engine = tiny.engine(slots=SLOTS, threads=threads, context_length=CONTEXT)
    await through_casemate(engine, 1)
    (casemate,) = children()
    socket = str(folder / "bare.sock")
    task = {"weights": str(tiny.path), "socket": socket, "slots": SLOTS}
    bare = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        [sys.executable, "-c", SERVER, json.dumps(task | {"context": CONTEXT, "threads": threads})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert bare.stdin is not None
    assert bare.stdout is not None
    bare.stdout.readline()
    tokens = arguments.tokens
    ways: dict[str, Callable[[], Awaitable[int]]] = {
        "casemate": lambda: through_casemate(engine, tokens),
        "directly": lambda: directly(socket, tokens, 1),
        "directly, without probabilities": lambda: directly(socket, tokens, 0),
    }
    for at_a_time in (1, SLOTS):
        found: dict[str, list[float]] = {name: [] for name in ways}
        own, whole = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
        for turn in range(arguments.rounds + 1):
            for name, answer in ways.items():
                server = bare.pid if name != "casemate" else casemate
                here, there = time.process_time(), spent(server)
                measured = await rate(answer, at_a_time, tokens)
                own[name] += time.process_time() - here
                whole[name] += time.process_time() - here + spent(server) - there
                print(f"  {at_a_time} {name}: {measured:.1f}", file=sys.stderr, flush=True)
                if turn:  # the first warms up
                    found[name].append(measured)
        computed = (arguments.rounds + 1) * at_a_time * tokens
        for name, rates in found.items():
            ratios = [ours / theirs for ours, theirs in zip(found["casemate"], rates, strict=True)]
            print(
                f"{name + f', {at_a_time} at a time':<44} {statistics.median(rates):9.1f} tokens/s"
                f"   casemate/this: median {statistics.median(ratios):.3f}"
                f" ({min(ratios):.3f}…{max(ratios):.3f})   n {len(rates)}"
                f"   processor time {whole[name] / computed * 1e3:.2f} ms/token,"
                f" of it the asker's {own[name] / computed * 1e3:.2f}"
            )
    await engine.close()
    bare.stdin.close()
    bare.wait()


def children() -> list[int]:
    return [
        int(child)
        for task in os.listdir("/proc/self/task")
        for child in Path(f"/proc/self/task/{task}/children").read_text().split()
    ]


def spent(process: int) -> float:
    """Seconds of processor time that a process took so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def endless(path: Path) -> None:
    """Let the weights never end an answer, so that all sides compute as much."""
    import gguf

    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if tensor.name == "output.weight":
            tensor.data[2] = 0  # </s> is then as likely as the average, not as the best
            tensor.data.flush()


async def loading(tiny: Tiny, threads: int) -> None:
    """From nothing to the first token, against reading the file once."""
    for cold in (False, True):
        reading, starting = [], []
        for _ in range(5):
            settle(tiny.path, cold=cold)
            begun = time.perf_counter()
            read(tiny.path)
            reading.append(time.perf_counter() - begun)
            settle(tiny.path, cold=cold)
            engine = tiny.engine(slots=SLOTS, threads=threads, context_length=CONTEXT)
            begun = time.perf_counter()
            await through_casemate(engine, 1)
            starting.append(time.perf_counter() - begun)
            await engine.close()
        ratios = [ours / theirs for ours, theirs in zip(starting, reading, strict=True)]
        size = tiny.path.stat().st_size / 1e6
        print(
            f"{f'{size:.0f} MB, ' + ('from the disk' if cold else 'in memory'):<28}"
            f" read once {statistics.median(reading):.3f} s,"
            f" from nothing to the first token {statistics.median(starting):.3f} s,"
            f" ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}…{max(ratios):.2f})"
        )


def settle(path: Path, *, cold: bool) -> None:
    """Have the file in memory, or not in it."""
    if not cold:
        read(path)
        return
    with path.open("r+b") as file:
        os.fsync(file.fileno())  # what is not on the disk yet cannot leave the memory
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        piece = bytearray(1 << 20)
        while file.readinto(piece):
            pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--large", action="store_true")
    with tempfile.TemporaryDirectory() as own:
        asyncio.run(main(parser.parse_args(), Path(own)))
