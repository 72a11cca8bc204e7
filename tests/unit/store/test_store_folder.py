from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from casemate.errors import CasemateError, Conflict, Invalid, Unavailable
from casemate.store.folder import DataFolder, InUse, disk_problem, write_durably


def a_made_folder(path: Path) -> Path:
    with DataFolder.open(path) as folder:
        folder.finish_creation()
    return path


def names(path: Path) -> set[str]:
    return {one.name for one in path.iterdir()}


def test_a_first_start_makes_the_folder_for_its_account_alone(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "a" / "data") as folder:
        assert folder.fresh
        assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_finished_is_not_fresh_again(tmp_path: Path) -> None:
    path = a_made_folder(tmp_path / "data")
    with DataFolder.open(path) as folder:
        assert not folder.fresh


def test_an_empty_folder_may_become_a_data_folder(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path) as folder:
        assert folder.fresh


def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no Casemate data folder"):
        DataFolder.open(tmp_path / "data", create=False)
    assert names(tmp_path) == set()


def test_two_openings_of_one_folder_are_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    path = a_made_folder(tmp_path / "data")
    with DataFolder.open(path), pytest.raises(InUse) as refusal:
        DataFolder.open(path)
    assert isinstance(refusal.value, Conflict)
    DataFolder.open(path).close()


HOLD = """
import sys
from pathlib import Path
from casemate.store.folder import DataFolder
with DataFolder.open(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def another(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_another_process_that_is_killed_gives_the_folder_back(tmp_path: Path) -> None:
    path = a_made_folder(tmp_path / "data")
    with another(HOLD, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InUse):
            DataFolder.open(path)
        process.kill()
    DataFolder.open(path).close()


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    folder.close()
    folder.close()


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path) as folder:
        assert not os.get_inheritable(folder._lock)


# What lies there already


@pytest.mark.parametrize(
    "strangers",
    [
        ["thesis.odt"],
        ["lock", "thesis.odt"],
        ["settings.toml", "thesis.odt"],
        ["settings.toml", "src/app.py"],
        ["perimeter.toml", "ledger/2026.xlsx"],
        ["ledger/2026.xlsx"],
        [".git/config"],
    ],
)
def test_a_folder_with_somebody_elses_files_is_refused_and_left_as_it_was(
    tmp_path: Path, strangers: list[str]
) -> None:
    for name in strangers:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(Invalid, match="holds other files"):
        DataFolder.open(tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {name for name in found if (tmp_path / name).is_file()} == set(strangers)


@pytest.mark.parametrize("create", [True, False])
def test_a_file_in_place_of_the_folder_is_refused_and_left_as_it_was(
    tmp_path: Path, create: bool
) -> None:
    path = tmp_path / "data"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(Invalid):
        DataFolder.open(path, create=create)
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_folder_of_a_newer_format_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = a_made_folder(tmp_path / "data")
    (path / "casemate.json").write_text('{"casemate":"data folder","v":2}\n', encoding="utf-8")
    (path / "casemate.sqlite").write_text("newer", encoding="utf-8")
    with pytest.raises(Invalid, match="version"):
        DataFolder.open(path)
    assert (path / "casemate.sqlite").read_text(encoding="utf-8") == "newer"


def test_a_first_start_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with DataFolder.open(path) as folder:
        folder.master_key.write_bytes(b"half")
        folder.ledger.mkdir()
        (folder.ledger / "checkpoint").write_bytes(b"half")
        folder.database.write_bytes(b"half")
    with DataFolder.open(path) as folder:
        assert folder.fresh
        assert names(path) == {"lock"}


def test_settings_written_before_the_first_start_stay(tmp_path: Path) -> None:
    for name in ("settings.toml", "perimeter.toml"):
        (tmp_path / name).write_text("# mine\n", encoding="utf-8")
    with DataFolder.open(tmp_path) as folder:
        assert folder.fresh
    with DataFolder.open(tmp_path):
        assert names(tmp_path) == {"lock", "settings.toml", "perimeter.toml"}


# Writing durably


def test_a_durable_write_replaces_the_whole_file_and_leaves_nothing_beside_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    write_durably(path, b"a long first content")
    write_durably(path, b"second", mode=0o640)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == {"a"}


def test_a_durable_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(OSError, match="directory"):
        write_durably(path, b"new")
    assert names(tmp_path) == {"a"}


def test_what_an_interrupted_durable_write_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "a.tmp").write_bytes(b"half of something longer")
    write_durably(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert names(tmp_path) == {"a"}


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.ENOSPC, Unavailable, "full"),
        (errno.EDQUOT, Unavailable, "full"),
        (errno.EROFS, Unavailable, "cannot be written"),
        (errno.EACCES, Unavailable, "cannot be written"),
        (errno.ENOTDIR, Invalid, "not a folder"),
        (errno.EIO, Unavailable, "does not work"),
    ],
)
def test_a_problem_of_the_disk_is_told_in_plain_words(
    code: int, kind: type[CasemateError], says: str
) -> None:
    told = disk_problem(OSError(code, os.strerror(code), "/secret/path"))
    assert isinstance(told, kind)
    assert says in told.what
    assert told.next
    assert "/secret" not in str(told)


# Two who start at once


class _Overtaken(type(Path())):  # type: ignore[misc]
    """A folder that another process makes, fills and gives back just before we lock it."""

    def mkdir(self, *arguments: object, **options: object) -> None:
        super().mkdir(*arguments, **options)
        with DataFolder.open(Path(str(self))) as other:
            other.ledger.mkdir()
            (other.ledger / "checkpoint").write_bytes(b"theirs")
            other.finish_creation()


def test_a_folder_that_another_start_completed_in_between_is_not_begun_again(
    tmp_path: Path,
) -> None:
    with DataFolder.open(_Overtaken(tmp_path / "data")) as folder:
        assert not folder.fresh
        assert (folder.ledger / "checkpoint").read_bytes() == b"theirs"


START = """
import sys
from pathlib import Path
from casemate.store.folder import DataFolder, InUse
path = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with DataFolder.open(path) as folder:
        if folder.fresh:
            (path / "ledger").mkdir()
            (path / "ledger" / "made").touch()
            folder.finish_creation()
        print("made" if folder.fresh else "found")
except InUse:
    print("in use")
"""


def test_of_many_that_start_at_once_one_makes_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "data"
    processes = [another(START, path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    endings = [process.communicate()[0] for process in processes]
    assert endings.count("made\n") == 1
    assert set(endings) <= {"made\n", "found\n", "in use\n"}
    assert (path / "ledger" / "made").exists()


def test_a_refusal_gives_the_lock_back(tmp_path: Path) -> None:
    path = a_made_folder(tmp_path / "data")
    (path / "casemate.json").unlink()
    (path / "thesis.odt").touch()
    for _ in range(2):
        with pytest.raises(Invalid, match="holds other files"):
            DataFolder.open(path)
