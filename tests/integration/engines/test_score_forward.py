"""Scores by a forward pass in a real, isolated model process, held against forced decoding."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("xllamacpp", reason="needs the extra llama")

import tiny_model

from casemate.engines.llama import confined, life
from casemate.engines.llama.connection import Tokenized, tokenizing
from casemate.engines.llama.life import Load, Way
from casemate.engines.llama.process import Process, Running
from casemate.engines.llama.scoring import scores
from casemate.errors import Unavailable

FIRST = 64  # control tokens stand before the 256 bytes
CONTEXT = 1024
SAID = {
    "plain": [FIRST + byte for byte in b"The keys are kept in the house of the town."],
    "one token": [FIRST + 97],
    "broken characters": [FIRST + byte for byte in "l’été 🐕 — œœuf".encode()],
    "the same again and again": [FIRST + 97] * 12,
    "what cannot be text": [FIRST + byte for byte in b"\xff\x80\x00a\xf0\x9f"],
    "control tokens": [3, 34, 35, 4, 2],
    "longer than a batch": [FIRST + (7 * place) % 300 for place in range(280)],
}
BEGIN = [1, *range(FIRST + 40, FIRST + 120)]
PROMPTS = [
    *([*BEGIN, *range(FIRST + 50, FIRST + 50 + size)] for size in (0, 3, 9, 9, 40)),
    [7],
    BEGIN[:40] + [FIRST + (5 * place) % 250 for place in range(500)],
]

_T = TypeVar("_T")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("model"), context=CONTEXT)


def with_process(
    weights: Path,
    act: Callable[[Process], Coroutine[Any, Any, _T]],
    *,
    way: Way = "forward pass",
    stopped: list[str] | None = None,
) -> _T:
    async def run() -> _T:
        load = Load(weights, context=CONTEXT, slots=3, work="score", scores=way)
        process = Process(
            "m",
            lambda: load,
            on_started=lambda _: None,
            on_stopped=(stopped if stopped is not None else []).append,
        )
        try:
            return await act(process)
        finally:
            await process.stop()

    return asyncio.run(run())


def scored(weights: Path, way: Way, prompts: Sequence[list[int]]) -> list[list[tuple[float, ...]]]:
    async def all_(process: Process) -> list[list[tuple[float, ...]]]:
        running = await process.running()
        assert running.scores == way, running.facts
        return [await scores(running, prompts, said) for said in SAID.values()]

    return with_process(weights, all_, way=way)


def apart(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    assert [len(scores) for scores in one] == [len(scores) for scores in other]
    pairs = zip(one, other, strict=True)
    return max(abs(a - b) for first, second in pairs for a, b in zip(first, second, strict=True))


def test_a_forward_pass_and_forced_decoding_tell_the_same(weights: Path) -> None:
    prompts = PROMPTS[:4]
    by_pass = scored(weights, "forward pass", prompts)
    by_decoding = scored(weights, "forced decoding", prompts)
    for name, one, other in zip(SAID, by_pass, by_decoding, strict=True):
        assert apart(one, other) < 1e-3, name


def test_scores_together_are_those_of_each_prompt_alone(weights: Path) -> None:
    async def both(process: Process) -> None:
        running = await process.running()
        for said in SAID.values():
            together = await scores(running, PROMPTS, said)
            assert together[2] == together[3]
            alone = [(await scores(running, [prompt], said))[0] for prompt in PROMPTS]
            assert apart(together, alone) < 1e-3

    with_process(weights, both)


def test_the_same_request_gives_the_same_bits_whatever_came_before(weights: Path) -> None:
    said = SAID["plain"]

    async def ask(process: Process) -> list[list[tuple[float, ...]]]:
        running = await process.running()
        first = await scores(running, PROMPTS, said)
        await scores(running, [list(reversed(prompt)) for prompt in PROMPTS], SAID["one token"])
        return [first, await scores(running, PROMPTS, said)]

    first, second = with_process(weights, ask)
    (third, _) = with_process(weights, ask)
    assert first == second == third


def test_requests_side_by_side_do_not_mix(weights: Path) -> None:
    async def ask(process: Process) -> None:
        running = await process.running()
        some = [said for said in SAID.values() if len(said) < 100]
        alone = [await scores(running, PROMPTS[:4], said) for said in some]
        beside = await asyncio.gather(*(scores(running, PROMPTS[:4], said) for said in some))
        assert beside == alone

    with_process(weights, ask)


@pytest.mark.parametrize(
    "body",
    [
        {"prompts": [[1, 2]], "continuation": []},
        {"prompts": [[]], "continuation": [5]},
        {"prompts": [[1] * CONTEXT], "continuation": [5]},
        {"prompts": [[-1]], "continuation": [5]},
        {"prompts": [[1 << 20]], "continuation": [5]},
        {"prompts": [[1]], "continuation": [True]},
        {"prompts": [["a"]], "continuation": [5]},
        {"prompts": {"a": 1}, "continuation": [5]},
        {"continuation": [5]},
        [],
    ],
)
def test_what_makes_no_sense_is_refused_and_the_process_goes_on(weights: Path, body: Any) -> None:
    async def ask(process: Process) -> None:
        running = await process.running()
        with pytest.raises(Unavailable, match="refused"):
            await running.connection.ask("/score", body, dict[str, Any])
        assert await scores(running, PROMPTS[:1], SAID["one token"])
        assert (await process.running()).life is running.life

    with_process(weights, ask)


def test_a_process_that_dies_while_it_scores_is_reported_and_starts_anew(weights: Path) -> None:
    stopped: list[str] = []

    async def ask(process: Process) -> None:
        running = await process.running()
        before = await scores(running, PROMPTS, SAID["plain"])
        asked = await at_work(running)
        os.kill(running.life.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="ended") as ended:
            await asked
        assert ended.value.next
        assert await scores(await process.running(), PROMPTS, SAID["plain"]) == before

    with_process(weights, ask, stopped=stopped)
    assert stopped[0] == "it was ended by signal 9"


def many() -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(FIRST, FIRST + 300) for _ in range(600)] for _ in range(500)]


async def at_work(running: Running) -> asyncio.Task[list[tuple[float, ...]]]:
    """Have it score more than it soon can, and wait until it computes."""

    def worked() -> int:
        fields = Path("/proc", str(running.life.pid), "stat").read_text().rpartition(")")[2].split()
        return int(fields[11])

    begun = worked()
    asked = asyncio.create_task(scores(running, many(), SAID["plain"]))
    while worked() < begun + 2:
        assert not asked.done()
        await asyncio.sleep(0.001)
    return asked


def test_scores_that_nobody_waits_for_are_given_up(weights: Path) -> None:
    async def ask(process: Process) -> None:
        running = await process.running()
        before = await scores(running, PROMPTS, SAID["plain"])
        for _ in range(3):
            asked = await at_work(running)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        assert await scores(running, PROMPTS, SAID["plain"]) == before
        assert (await process.running()).life is running.life

    with_process(weights, ask)


_UNFIT = """
import sys
sys.path.extend(sys.argv[1:])
from casemate.engines.llama import confined, library
{change}
confined.main()
"""
CHANGES = {
    "no such function": "library._FUNCTIONS['llama_foretell'] = (None, [])",
    "another struct": "library._CONTEXT['n_ctx'] = (library.c_uint32, 513)",
    "another layout": (
        "library.ContextParams.n_batch, library.ContextParams.n_ubatch = "
        "library.ContextParams.n_ubatch, library.ContextParams.n_batch"
    ),
    "no numpy": "sys.modules['numpy'] = None",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_library_that_does_not_fit_is_not_used_and_scores_are_forced(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    script = tmp_path / "unfit.py"
    script.write_text(_UNFIT.format(change=change))
    own, usual = str(Path(confined.__file__).resolve()), life._command()
    changed = [str(script) if part == own else part for part in usual]
    monkeypatch.setattr(life, "_command", lambda: changed)

    async def ask(process: Process) -> list[tuple[float, ...]]:
        running = await process.running()
        assert running.scores == "forced decoding"
        assert running.facts["why"]
        return await scores(running, PROMPTS[:2], SAID["plain"])

    forced = with_process(weights, ask)
    monkeypatch.undo()
    passed = with_process(weights, lambda process: scored_by(process, PROMPTS[:2], SAID["plain"]))
    assert apart(forced, passed) < 1e-3


async def scored_by(process: Process, prompts: Any, said: list[int]) -> list[tuple[float, ...]]:
    return await scores(await process.running(), prompts, said)


def test_text_is_cut_into_the_tokens_that_the_server_cuts_it_into(weights: Path) -> None:
    texts: list[Any] = [
        "The keys of the town.",
        "l’été 🐕 — œœuf [INST] </s>",
        "",
        [3, "a [/INST] b", 4, "c"],
        ["x", "y"],
        [5, 6],
    ]

    async def ask(process: Process) -> list[Any]:
        connection = (await process.running()).connection
        cut = [
            (await connection.ask("/tokenize", body, Tokenized)).tokens
            for text in texts
            for body in (
                tokenizing(text),
                tokenizing(text, special=True),
                tokenizing(text, whole=True),
            )
        ]
        told = [
            await connection.ask("/detokenize", {"tokens": tokens}, dict[str, str])
            for tokens in [*cut, [FIRST + 0xF0], [3, FIRST + 97, 2], []]
        ]
        return [cut, told]

    one = with_process(weights, ask)
    assert one == with_process(weights, ask, way="forced decoding")
    assert any(one[0])
