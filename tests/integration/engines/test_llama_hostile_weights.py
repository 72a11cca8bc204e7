"""Weights from an enemy end their own process and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from llama_builders import Tiny, a_manifest, said
from mutated import KINDS, mutated

from casemate.engines.engine import Sampling
from casemate.engines.llama.engine import House, LlamaEngine
from casemate.engines.llama.life import Load, Work
from casemate.engines.llama.process import Process
from casemate.engines.llama.scoring import scores
from casemate.errors import CasemateError, Tampered, Unavailable

MEMORY = 3 << 30
COUNTS: dict[Work, int] = {"generate": 40, "score": 2 * len(KINDS)}


def check(problem: CasemateError, folder: Path) -> None:
    """It helps, and names no path."""
    assert problem.next
    assert str(folder) not in str(problem)


async def outcome(weights: Path, work: Work) -> str:
    """What becomes of a process that loads this, and computes with it if it can."""
    stopped: list[str] = []
    process = Process(
        "tiny",
        lambda: Load(weights, context=64, slots=1, memory_bytes=MEMORY, work=work),
        on_started=lambda _: None,
        on_stopped=stopped.append,
    )
    try:
        running = await process.running()
        if work == "score":
            await scores(running, [[1, 3, 70, 4]], [71, 72])
        else:
            body = {"prompt": [1, 3, 70, 4], "n_predict": 4, "n_probs": 1}
            await running.connection.ask("/completion", body, dict)
        told = "loaded"
    except (Tampered, Unavailable) as problem:
        told = type(problem).__name__
        check(problem, weights.parent)
    finally:
        await process.stop()
    assert len(stopped) == 1
    return told


def children() -> set[str]:
    """Processes that this one started and that are not gone."""
    found: set[str] = set()
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):  # that thread has just ended
            found.update(Path(f"/proc/self/task/{task}/children").read_text().split())
    return found


@pytest.mark.parametrize("work", COUNTS)
def test_mutated_weights_end_their_own_process_alone(tmp_path: Path, work: Work) -> None:
    tiny = Tiny.make(tmp_path / "tiny")
    whole, weights = tiny.path.read_bytes(), tmp_path / "mutated.gguf"
    before = children()  # of other tests, which may keep theirs for longer
    seen = set()
    for seed in range(COUNTS[work]):
        kind, bytes_ = mutated(whole, seed)
        weights.write_bytes(bytes_)
        seen.add((kind, asyncio.run(outcome(weights, work))))
    assert {kind for kind, _ in seen} == set(KINDS)
    assert {told for _, told in seen} >= {"loaded", "Tampered"}
    weights.write_bytes(whole)
    assert asyncio.run(outcome(weights, work)) == "loaded"
    assert children() <= before


def test_an_engine_says_of_such_weights_what_is_wrong(tmp_path: Path) -> None:
    tiny = Tiny.make(tmp_path / "tiny")
    whole = tiny.path.read_bytes()

    async def ask(bytes_: bytes) -> str:
        tiny.path.write_bytes(bytes_)
        house = House(
            files=lambda _: tiny.folder,
            required_layers=lambda _: frozenset(),
            on_started=lambda *_: None,
            on_stopped=lambda *_: None,
        )
        engine = LlamaEngine(a_manifest(tiny.folder), house)
        try:
            await said(engine, sampling=Sampling(max_tokens=2))
        except CasemateError as problem:
            check(problem, tmp_path)
            return problem.what
        finally:
            await engine.close()
        return ""

    assert asyncio.run(ask(whole)) == ""
    assert "GGUF" in asyncio.run(ask(whole[:5000]))
    assert "cannot be loaded" in asyncio.run(ask(whole[: len(whole) * 3 // 4]))
