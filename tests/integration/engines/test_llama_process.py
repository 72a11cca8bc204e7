"""Model processes: isolated, supervised, and gone without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from llama_builders import LOWEST, Tiny, a_prompt, said

from casemate.engines.engine import Sampling
from casemate.engines.llama.engine import LlamaEngine
from casemate.engines.llama.life import Isolated, Load
from casemate.engines.llama.process import Process
from casemate.errors import Tampered, Unavailable
from casemate.isolation import LAYERS

LONG = Sampling(temperature=1.0, seed=1, max_tokens=400)
SHORT = Sampling(temperature=1.0, seed=2, max_tokens=24)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.make(tmp_path_factory.mktemp("tiny"))


@asynccontextmanager
async def an_engine(tiny: Tiny) -> AsyncIterator[LlamaEngine]:
    engine = tiny.engine()
    try:
        yield engine
    finally:
        await engine.close()


class Clock:
    """A clock that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched(Process):
    """A process on its own, for looking at how it is kept."""

    def __init__(self, weights: Path, **parts: object) -> None:
        self.started: list[Isolated] = []
        self.stopped: list[str] = []
        self.clock = Clock()
        super().__init__(
            "tiny",
            lambda: Load(weights, context=64, slots=1),
            on_started=self.started.append,
            on_stopped=self.stopped.append,
            clock=self.clock,
        )

    async def crash(self) -> None:
        """Start it, and kill it."""
        life = (await self.running()).life
        os.kill(life.pid, signal.SIGKILL)
        await life.end()


_BEFORE: set[int] = set()  # of other tests, which may keep theirs for longer


@pytest.fixture(autouse=True)
def _only_those_of_this_test() -> None:
    _BEFORE.clear()
    _BEFORE.update(children())


def children() -> list[int]:
    """Processes that this test started and that are not gone."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):  # that thread has just ended
            found += map(int, Path(f"/proc/self/task/{task}/children").read_text().split())
    return [child for child in found if child not in _BEFORE]


def left_behind() -> tuple[Counter[str], set[str], set[int], int]:
    """Descriptors by what they are, folders of sockets, children and threads."""
    kinds: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            kinds[os.readlink(f"/proc/self/fd/{name}").split(":")[0]] += 1
        except FileNotFoundError:
            continue  # the one through which the folder was read
    return kinds, set(os.listdir(tempfile.gettempdir())), set(children()), threading.active_count()


def test_a_process_is_isolated_and_proves_it(tiny: Tiny) -> None:
    async def start() -> None:
        async with an_engine(tiny) as engine:
            await said(engine, sampling=SHORT)

    tiny.seen.started.clear()
    asyncio.run(start())
    (isolated,) = tiny.seen.started
    assert set(isolated.layers) | set(isolated.missing) == set(LAYERS)
    if not isolated.missing:  # else this kernel gives less, and says what
        assert all(blocked for _, blocked, _ in isolated.proof)
    assert len(isolated.proof) > 20


def test_a_process_that_is_killed_ends_its_answer_and_the_next_is_served(tiny: Tiny) -> None:
    async def killed() -> None:
        async with an_engine(tiny) as engine:
            answer = engine.generate(a_prompt(), LONG)
            await anext(answer)
            (process,) = children()
            os.kill(process, signal.SIGKILL)
            with pytest.raises(Unavailable, match="ended") as ended:
                async for _ in answer:
                    pass
            assert ended.value.next
            assert await said(engine, sampling=SHORT)
            assert children() != [process]

    tiny.seen.stopped.clear()
    asyncio.run(killed())
    assert tiny.seen.stopped[0] == "it was ended by signal 9"
    assert len(tiny.seen.stopped) == 2


def test_nothing_is_left_behind(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tempfile.mkdtemp()  # where no other test leaves anything
    monkeypatch.setattr(tempfile, "tempdir", own)

    async def everything() -> None:
        async with an_engine(tiny) as engine:
            for number in range(6):
                answer = engine.generate(a_prompt(f"{number}?"), LONG)
                await anext(answer)
                if number == 3:
                    os.kill(children()[0], signal.SIGKILL)
                await answer.aclose()
            await engine.embed(["vector"], label=LOWEST)
            task = asyncio.create_task(said(engine, sampling=LONG))
            await said(engine, sampling=SHORT)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(everything())  # what is made once and kept is made here
    before = left_behind()
    for _ in range(3):
        asyncio.run(everything())
    kinds, folders, processes, threads = left_behind()
    assert kinds <= before[0]
    assert (folders, processes, threads) == before[1:]
    os.rmdir(own)


def test_stopping_while_an_answer_is_being_written_ends_it(tiny: Tiny) -> None:
    async def stopped() -> None:
        engine = tiny.engine()
        answer = engine.generate(a_prompt(), LONG)
        await anext(answer)
        await engine.close()
        with pytest.raises(Unavailable):
            async for _ in answer:
                pass
        assert children() == []

    asyncio.run(stopped())


def test_a_loop_that_ended_without_a_word_leaves_nothing_to_the_next(tiny: Tiny) -> None:
    engine = tiny.engine()

    async def ask() -> int:
        return len(await said(engine, sampling=SHORT))

    async def close() -> None:
        await engine.close()

    assert asyncio.run(ask()) == asyncio.run(ask())
    assert len(children()) == 1
    asyncio.run(close())
    assert children() == []


def test_a_process_ends_with_its_parent(tiny: Tiny) -> None:
    # The parent is a process of its own, which is killed without having stopped anything.
    script = (
        "import asyncio, os, signal, sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from casemate.engines.llama.life import Load\n"
        "from casemate.engines.llama.process import Process\n"
        "async def main():\n"
        f"    load = Load(Path({str(tiny.path)!r}), context=64, slots=1)\n"
        "    process = Process('tiny', lambda: load, on_started=lambda _: None,\n"
        "                      on_stopped=lambda _: None)\n"
        "    life = (await process.running()).life\n"
        "    print(life.pid, life.socket.parent, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )

    async def orphan() -> tuple[int, str]:
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await parent.communicate()
        pid, folder = out.decode().split()
        return int(pid), folder

    pid, folder = asyncio.run(orphan())
    try:
        gone = os.pidfd_open(pid)
    except ProcessLookupError:
        pass
    else:
        with os.fdopen(gone):
            select.select([gone], [], [])
    assert not Path(f"/proc/{pid}/exe").exists()
    os.unlink(f"{folder}/model.sock")
    os.rmdir(folder)


def test_crashes_without_work_between_them_make_it_pause(tiny: Tiny) -> None:
    async def crashing() -> None:
        process = Watched(tiny.path)
        await process.crash()
        await process.crash()  # the first time it starts again at once
        with pytest.raises(Unavailable, match="several times") as paused:
            await process.running()
        assert "1 seconds" in paused.value.next
        process.clock.now = 1.0
        await process.crash()
        with pytest.raises(Unavailable) as paused:
            await process.running()
        assert "2 seconds" in paused.value.next
        process.clock.now = 3.0
        await process.running()
        process.worked()
        await process.crash()
        await process.running()
        await process.stop()
        assert len(process.started) == len(process.stopped) == 5

    asyncio.run(crashing())


def test_a_pause_never_grows_beyond_a_minute(tiny: Tiny) -> None:
    async def crashing() -> None:
        process = Watched(tiny.path)
        for _ in range(10):
            process.clock.now += 60.0
            await process.crash()
        process.clock.now += 60.0
        await process.running()
        await process.stop()

    asyncio.run(crashing())


def test_weights_that_are_no_model_are_refused_without_a_path(tmp_path: Path) -> None:
    weights = tmp_path / "junk.gguf"
    weights.write_bytes(b"GGUF" + bytes(range(256)) * 8)

    async def load() -> None:
        process = Watched(weights)
        with pytest.raises(Tampered, match="cannot be loaded") as refused:
            await process.running()
        assert str(tmp_path) not in str(refused.value)
        assert refused.value.next
        with pytest.raises(Tampered):  # at once again, then not before its time
            await process.running()
        started = len(process.started)
        with pytest.raises(Tampered):
            await process.running()
        assert len(process.started) == started == 2
        await process.stop()
        assert children() == []
        assert len(process.stopped) == 2

    asyncio.run(load())


def test_a_start_that_cannot_be_recorded_does_not_count(tiny: Tiny) -> None:
    def full(_: Isolated) -> None:
        raise Unavailable("The ledger is full.", "Make room.")

    async def start() -> None:
        process = Process(
            "tiny", lambda: Load(tiny.path), on_started=full, on_stopped=lambda _: None
        )
        with pytest.raises(Unavailable, match="ledger"):
            await process.running()
        await process.stop()
        assert children() == []

    asyncio.run(start())


def test_who_gives_up_waiting_for_a_start_does_not_end_it_for_the_others(tiny: Tiny) -> None:
    async def given_up() -> None:
        loop, isolated = asyncio.get_running_loop(), asyncio.Event()

        def started(_: Isolated) -> None:
            loop.call_soon_threadsafe(isolated.set)

        process = Process(
            "tiny", lambda: Load(tiny.path), on_started=started, on_stopped=stopped.append
        )
        first = asyncio.create_task(process.running())
        second = asyncio.create_task(process.running())
        await isolated.wait()
        first.cancel()
        running = await second
        assert first.cancelled()
        assert await process.running() is running
        await process.stop()
        assert children() == []

    stopped: list[str] = []
    asyncio.run(given_up())
    assert stopped == ["it was no longer needed"]


def test_stopping_while_it_starts_leaves_nothing(tiny: Tiny) -> None:
    async def stopped_early() -> None:
        loop, isolated = asyncio.get_running_loop(), asyncio.Event()

        def started(_: Isolated) -> None:
            loop.call_soon_threadsafe(isolated.set)

        process = Process(
            "tiny", lambda: Load(tiny.path), on_started=started, on_stopped=stopped.append
        )
        waiting = asyncio.create_task(process.running())
        await isolated.wait()
        await process.stop()
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(outcome, Unavailable)
        assert children() == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    stopped: list[str] = []
    asyncio.run(stopped_early())
    assert len(stopped) == 1


def test_two_who_need_it_first_start_it_once(tiny: Tiny) -> None:
    async def two() -> None:
        process = Watched(tiny.path)
        first, second = await asyncio.gather(process.running(), process.running())
        assert first is second
        await process.stop()
        assert process.stopped == ["it was no longer needed"]

    asyncio.run(two())
