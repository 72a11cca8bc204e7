"""Real child processes for the tests of isolation: of root or of an ordinary user.

Every child has a parent of its own account (a small launcher), so that what it does to its parent
is refused by isolation and not because the test runs as somebody else.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import casemate
from casemate.isolation import Attempt

ROOT, ORDINARY = "root", "ordinary"
ACCOUNTS = (ROOT, ORDINARY)
NOBODY = 65534

_PRELUDE = """
import json, os, sys
told = json.loads(sys.argv[1])
sys.path.insert(0, told["source"])
sys.path.extend(told["packages"])
from casemate.isolation import LAYERS, Wants, interpreter_files, isolate, prove
from casemate.isolation.kernel import call

def kernel(name, *arguments):
    if name in told["broken"]:
        raise OSError(told["broken"][name], "pretended", name)
    return call(name, *arguments)

def enter(**more):
    if not told["isolated"]:
        return None
    wants = Wants(
        read=(*interpreter_files(), *told["read"]), write=tuple(told["write"]), **more
    )
    return isolate(wants, kernel)

def tell(value):
    print(json.dumps(value), flush=True)

def refusal_of(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return error.errno
    return 0
"""

_LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-I", "-B", "-c", *sys.argv[1:]]).returncode)
"""


def start(
    account: str,
    code: str,
    *,
    isolated: bool = True,
    read: Iterable[Path | str] = (),
    write: Iterable[Path | str] = (),
    broken: Mapping[str, int] | None = None,
    packages: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """A launcher of ``account`` whose child runs ``code``; skips where there is no such account.

    broken: system calls that pretend to fail, each with its errno.
    """
    told = {
        "source": _source(),
        "packages": list(packages),
        "isolated": isolated,
        "read": [str(path) for path in read],
        "write": [str(path) for path in write],
        "broken": dict(broken or {}),
    }
    return subprocess.Popen(
        [interpreter(account), "-I", "-B", "-c", _LAUNCHER, _PRELUDE + code, json.dumps(told)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=dict(environment or {}),
        start_new_session=True,
        **_identity(account),
    )


def run(account: str, code: str, **how: Any) -> Any:
    """What the child told last; fails the test with its own words if it broke."""
    with start(account, code, **how) as child:
        try:
            told, complaint = child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    assert child.returncode == 0, complaint
    return json.loads(told.splitlines()[-1])


@cache
def attempts(account: str, *, isolated: bool, broken: tuple[tuple[str, int], ...] = ()) -> Any:
    """Name → Attempt of everything that ``prove`` tries in such a child."""
    code = "enter()\ntell([[a.name, a.blocked, a.errno_name] for a in prove()])"
    told = run(account, code, isolated=isolated, broken=dict(broken))
    return {name: Attempt(name, blocked, errno_name) for name, blocked, errno_name in told}


def interpreter(account: str) -> str:
    """A Python that ``account`` may start. Skips the test where there is none."""
    if account == ROOT and os.geteuid() != 0:
        pytest.skip("needs to run as root")
    found = _interpreter(account)
    if found is None:
        pytest.skip("no Python 3.11 that an ordinary user may start is installed here")
    return found


def a_folder_for(account: str) -> Path:
    """A new folder that belongs to ``account`` and can be reached by it."""
    folder = Path(tempfile.mkdtemp(prefix="casemate-isolation-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if _identity(account):
        os.chown(folder, NOBODY, NOBODY)
    return folder


@cache
def _interpreter(account: str) -> str | None:
    check = "import sys, ctypes; sys.exit(sys.version_info < (3, 11))"
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run(
                [candidate, "-I", "-c", check], capture_output=True, **_identity(account)
            )
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    return None


@cache
def _source() -> str:
    """A copy of the package that any account can read, wherever the checkout lies."""
    folder = Path(tempfile.mkdtemp(prefix="casemate-isolation-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    package = Path(casemate.__file__).parent
    (folder / "casemate").mkdir()
    shutil.copy(package / "__init__.py", folder / "casemate")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package / "isolation", folder / "casemate/isolation", ignore=ignored)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return str(folder)


def _identity(account: str) -> dict[str, Any]:
    if account == ORDINARY and os.geteuid() == 0:
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return {}


def folder_of(package: str) -> str:
    """Where ``package`` is installed, for a child's sys.path."""
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parents[1])
