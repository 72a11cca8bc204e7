import threading
from concurrent.futures import Future

import pytest

from casemate.errors import TooLarge, Unavailable
from casemate.ledger.sequencer import BATCH, BATCH_BYTES, WAITING_BYTES, Sequencer

LARGE = bytes(65_535)


class Disk:
    """Commits batches; while it is shut, each one waits. Remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.failing: Exception | None = None
        self.size = 0
        self._open = threading.Event()
        self._open.set()
        self.reached = threading.Event()

    def shut(self) -> None:
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def __call__(self, entries):
        self.reached.set()
        assert self._open.wait(60)
        if self.failing:
            raise self.failing
        self.batches.append(list(entries))
        first, self.size = self.size, self.size + len(entries)
        return first


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def sequencer(disk):
    sequencer = Sequencer(disk)
    yield sequencer
    disk.open()
    sequencer.close()


def hold(sequencer: Sequencer, disk: Disk) -> Future[int]:
    """Let one entry hold the disk, so that what comes next has to wait."""
    disk.shut()
    first = sequencer.append([b"first"])
    assert disk.reached.wait(60)
    return first


def test_what_waited_while_a_batch_was_written_is_the_next_batch(sequencer, disk):
    first = hold(sequencer, disk)
    others = [sequencer.append([b"%d" % number]) for number in range(5)]
    disk.open()
    assert [one.result() for one in (first, *others)] == [0, 1, 2, 3, 4, 5]
    assert disk.batches == [[b"first"], [b"0", b"1", b"2", b"3", b"4"]]


def test_a_group_stays_together_and_gives_the_index_of_its_first(sequencer, disk):
    assert sequencer.append([b"a", b"b", b"c"]).result() == 0
    assert sequencer.append([b"d"]).result() == 3
    assert sequencer.append([]).result() == 4
    assert disk.batches[0] == [b"a", b"b", b"c"]


def test_a_batch_is_bounded_in_entries_and_never_cuts_a_group(sequencer, disk):
    hold(sequencer, disk)
    groups = [sequencer.append([b"x"] * 1500) for _ in range(4)]
    disk.open()
    assert [one.result() for one in groups] == [1, 1501, 3001, 4501]
    assert [len(batch) for batch in disk.batches] == [1, 3000, 3000]


def test_a_batch_is_bounded_in_bytes(sequencer, disk):
    hold(sequencer, disk)
    for future in [sequencer.append([LARGE] * 64) for _ in range(3)]:
        disk.open()
        future.result()
    assert all(sum(map(len, batch)) <= BATCH_BYTES for batch in disk.batches)


def test_whoever_comes_when_enough_bytes_wait_waits_outside(sequencer, disk):
    hold(sequencer, disk)
    accepted = threading.Semaphore(0)
    futures: list[Future[int]] = []

    def fill() -> None:
        for _ in range(600):
            futures.append(sequencer.append([LARGE]))
            accepted.release()

    filler = threading.Thread(target=fill)
    filler.start()
    fitting = WAITING_BYTES // (len(LARGE) + 512)
    for _ in range(fitting):
        assert accepted.acquire(timeout=60)
    assert not accepted.acquire(timeout=0.05)  # the one after does not come in
    assert len(futures) == fitting
    disk.open()
    filler.join()
    assert sorted(future.result() for future in futures) == list(range(1, 601))


def test_a_failure_reaches_everybody_in_the_batch_and_the_next_one_succeeds(sequencer, disk):
    disk.failing = Unavailable("The disk is full.", "Make room.")
    with pytest.raises(Unavailable, match="full"):
        sequencer.append([b"a", b"b"]).result()
    disk.failing = None
    assert sequencer.append([b"a"]).result() == 0


def test_an_entry_that_was_given_up_is_not_written(sequencer, disk):
    hold(sequencer, disk)
    given_up, kept = sequencer.append([b"given up"]), sequencer.append([b"kept"])
    assert given_up.cancel()
    disk.open()
    assert kept.result() == 1
    assert disk.batches == [[b"first"], [b"kept"]]


def test_closing_writes_what_waits_and_lets_nobody_in(disk):
    sequencer = Sequencer(disk)
    hold(sequencer, disk)
    waiting = sequencer.append([b"x"])
    disk.open()
    sequencer.close()
    assert waiting.result() == 1
    with pytest.raises(Unavailable, match="closed"):
        sequencer.append([b"y"])
    sequencer.close()


def test_closing_frees_whoever_waits_outside(disk):
    sequencer = Sequencer(disk)
    hold(sequencer, disk)
    outcome: list[str] = []

    def fill() -> None:
        try:
            while True:
                sequencer.append([LARGE])
        except Unavailable as error:
            outcome.append(error.what)

    filler = threading.Thread(target=fill)
    filler.start()
    closer = threading.Thread(target=sequencer.close)
    closer.start()
    disk.open()
    closer.join()
    filler.join()
    assert outcome == ["The ledger is closed."]


@pytest.mark.parametrize(
    "entries", [[bytes(65_536)], [b"x"] * (BATCH + 1), [LARGE] * 129], ids=["entry", "many", "much"]
)
def test_what_no_batch_can_hold_is_refused_at_once(sequencer, entries):
    with pytest.raises(TooLarge) as refusal:
        sequencer.append(entries)
    assert refusal.value.next
