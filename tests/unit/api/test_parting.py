"""How a connection is ended, whatever carries it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from casemate.api.parting import hang_up


class Line(asyncio.Transport):
    """Remembers what was done with it."""

    def __init__(self, end: Callable[[], None] | None) -> None:
        super().__init__()
        self.done: list[str] = []
        self._end = end

    def can_write_eof(self) -> bool:
        return self._end is not None

    def write_eof(self) -> None:
        assert self._end is not None
        self._end()
        self.done.append("ended")

    def resume_reading(self) -> None:
        self.done.append("listens")

    def close(self) -> None:
        self.done.append("closed")

    def abort(self) -> None:
        self.done.append("dropped")


def fine() -> None:
    return


def gone() -> None:
    raise OSError(107, "Transport endpoint is not connected")


@pytest.mark.parametrize(
    ("end", "done"),
    [
        (fine, ["ended", "listens", "dropped"]),
        (gone, ["dropped"]),  # the client was faster
        (None, ["closed"]),  # as with TLS, which has an end of its own
    ],
)
def test_who_is_hung_up_on_is_listened_to_as_long_as_that_is_of_use(
    end: Callable[[], None] | None, done: list[str]
) -> None:
    async def part() -> list[str]:
        line, loop = Line(end), asyncio.get_running_loop()
        waiting = hang_up(line, loop, 0.001)
        while waiting is not None and "dropped" not in line.done:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return line.done

    assert asyncio.run(part()) == done
