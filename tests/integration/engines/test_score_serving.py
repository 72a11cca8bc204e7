"""A scoring process' answers on its socket, with a model that is played."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xllamacpp", reason="needs the extra llama")

import xllamacpp.xllamacpp

import casemate.models
from casemate.engines.llama import serving
from casemate.engines.llama.connection import Connection
from casemate.engines.llama.forward import Forward, GivenUp
from casemate.errors import Unavailable

NANO = Path(casemate.models.__file__).parent / "nano" / "nano.gguf"
PATIENCE = 60.0  # seconds, far more than anything here takes


class Played:
    """Answers after ``looks`` looks at whether somebody waits; never, if that is None."""

    room, tokens = 100, 100

    def __init__(self, looks: int | None) -> None:
        self.looks = looks
        self.begun, self.given_up = threading.Event(), threading.Event()

    def scores(
        self, prompts: Sequence[Any], said: Sequence[int], unwanted: Callable[[], bool]
    ) -> list[list[float]]:
        self.begun.set()
        left = self.looks
        while left is None or left > 0:
            if unwanted():
                self.given_up.set()
                raise GivenUp
            left = None if left is None else left - 1
        if self.looks == 0:
            raise ArithmeticError("not computed")
        return [[-0.5] * len(said) for _ in prompts]


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "model.sock")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(serving, "_SIGN_SECONDS", 0.0)


REQUEST = {"prompts": [[1, 2], [3]], "continuation": [4, 5, 6]}


def asked(path: Path, body: object, to: str = "/score") -> tuple[Any, list[str]]:
    """The answer, and why the process was then ended."""
    ended: list[str] = []

    async def ask() -> Any:
        connection = Connection(path, 1, ended.append)
        try:
            return await connection.ask(to, body, dict[str, Any])
        finally:
            await connection.close()

    try:
        return asyncio.run(ask()), ended
    except Unavailable as problem:
        return problem, ended


def test_signs_of_being_at_work_do_not_spoil_the_answer(path: Path) -> None:
    server = serving.serve(Played(looks=50), str(path))  # type: ignore[arg-type]
    answer, ended = asked(path, REQUEST)
    assert answer == {"logprobs": [[-0.5] * 3, [-0.5] * 3]}
    assert not ended
    server.shutdown()
    server.server_close()


def test_whoever_leaves_ends_the_work(path: Path) -> None:
    played = Played(looks=None)  # without end
    server = serving.serve(played, str(path))  # type: ignore[arg-type]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        body = b'{"prompts": [[1]], "continuation": [2]}'
        client.sendall(b"POST /score HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert played.begun.wait(PATIENCE)
    assert played.given_up.wait(PATIENCE)
    server.shutdown()
    server.server_close()


def test_what_cannot_be_computed_breaks_off_and_is_no_answer(path: Path) -> None:
    server = serving.serve(Played(looks=0), str(path))  # type: ignore[arg-type]
    answer, ended = asked(path, REQUEST)
    assert isinstance(answer, Unavailable)
    assert ended == [""]
    server.shutdown()
    server.server_close()


def test_anything_else_is_refused(path: Path) -> None:
    server = serving.serve(Played(looks=1), str(path))  # type: ignore[arg-type]
    for to in ("/completion", "/slots", "/"):
        answer, ended = asked(path, REQUEST, to)
        assert "status 404" in str(answer)
        assert not ended
    server.shutdown()
    server.server_close()


def test_a_model_gives_up_in_the_middle_and_then_scores_as_before() -> None:
    forward = Forward(xllamacpp.xllamacpp.__file__, str(NANO), context=512, threads=1)
    prompts, said = [[1, *range(100, 300)], [1, *range(100, 200), 7]], [*range(300, 340)]
    before = forward.scores(prompts, said)
    looks = iter(range(100))
    with pytest.raises(GivenUp):
        forward.scores(prompts, said, lambda: next(looks) == 60)
    assert next(looks) < 70  # it stopped where it was told to
    assert forward.scores(prompts, said) == before
