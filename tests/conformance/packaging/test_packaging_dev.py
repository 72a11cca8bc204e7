"""./dev finds a Python, or says in one line what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEV = Path(__file__).resolve().parents[3] / "dev"
TOOLS = ("cat", "cksum", "dirname", "rm", "sh")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a space in its name that holds ``dev`` and pins of nothing."""
    folder = tmp_path / "a checkout"
    (folder / "requirements").mkdir(parents=True)
    for name in ("base", "build", "dev"):
        (folder / "requirements" / f"{name}.txt").touch()
    (folder / "pyproject.toml").touch()
    shutil.copy(DEV, folder / "dev")
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with a few tools and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        place = shutil.which(name)
        assert place is not None
        (folder / name).symlink_to(place)
    return folder


def run(
    checkout: Path, tools: Path, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "dev", *arguments],
        env={"PATH": str(tools), **more},
        cwd=tools,
        capture_output=True,
        text=True,
    )


def stand_in(place: Path, body: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!{shutil.which('sh')}\n{body}\n")
    place.chmod(0o755)


def test_without_a_python_one_line_says_what_to_do(checkout: Path, tools: Path) -> None:
    done = run(checkout, tools, "demo")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "dev: Python 3.11 or newer was not found. "
        "Install it, or name it: PYTHON=/path/to/python ./dev …"
    )


def test_a_python_that_is_too_old_is_passed_over(checkout: Path, tools: Path) -> None:
    stand_in(tools / "python3", "exit 1")
    assert "was not found" in run(checkout, tools, "demo").stderr


def test_a_named_python_that_is_too_old_is_refused(checkout: Path, tools: Path) -> None:
    stand_in(tools / "old", "exit 1")
    done = run(checkout, tools, "demo", PYTHON="old")
    assert done.returncode == 1
    assert "dev: PYTHON=old is not a Python 3.11 or newer." in done.stderr


def test_what_fails_is_shown_and_named(checkout: Path, tools: Path) -> None:
    stand_in(tools / "python3", 'test "$1" = -c || { echo "no ensurepip"; exit 1; }')
    done = run(checkout, tools, "demo")
    assert done.returncode == 1
    assert "no ensurepip" in done.stderr
    assert "install python3-venv" in done.stderr.splitlines()[-1]


def test_when_nothing_changed_nothing_is_done_or_said(checkout: Path, tools: Path) -> None:
    a_finished_environment(checkout, tools)
    done = run(checkout, tools, "ask", "two words", "*")
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.splitlines() == [str(tools), "ask", "two words", "*"]


@pytest.mark.parametrize("changed", ["requirements/base.txt", "pyproject.toml"])
def test_after_a_change_it_sets_up_again(checkout: Path, tools: Path, changed: str) -> None:
    a_finished_environment(checkout, tools)
    (checkout / changed).write_text("# changed\n")
    assert run(checkout, tools, "status").stderr.startswith("Setting up .venv …\n")


def test_in_another_place_it_sets_up_again(checkout: Path, tools: Path) -> None:
    a_finished_environment(checkout, tools)
    moved = checkout.rename(checkout.with_name("moved"))
    assert run(moved, tools, "status").stderr.startswith("Setting up .venv …\n")


def a_finished_environment(checkout: Path, tools: Path) -> None:
    """What ./dev leaves, with a stand-in for casemate that prints where and with what it runs."""
    programs = checkout / ".venv" / "bin"
    stand_in(programs / "python", "exit 0")
    stand_in(programs / "casemate", 'pwd\nfor one; do echo "$one"; done\nexit 7')
    place = os.path.realpath(checkout)
    state = subprocess.run(
        f'{{ echo "{place}"; cat requirements/*.txt pyproject.toml; }} | cksum',
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    (checkout / ".venv" / "casemate-base").write_text(state.stdout)
