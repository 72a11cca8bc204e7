"""What an isolated process can still do, what it has lost, and what it says of missing layers."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from isolated_children import ACCOUNTS, NOBODY, ROOT, a_folder_for, run, start

from casemate.isolation import LAYERS

MEBIBYTE = 1 << 20


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_server_on_a_unix_socket_answers(account: str) -> None:
    folder = a_folder_for(account)
    code = """
import socket
enter()
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
    server.bind(told["write"][0] + "/s")
    server.listen()
    tell("ready")
    opened, _ = server.accept()
    with opened:
        opened.sendall(opened.recv(100).upper())
os.unlink(told["write"][0] + "/s")
"""
    with start(account, code, write=[folder]) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == '"ready"\n'
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(folder / "s"))
            client.sendall(b"question")
            assert client.recv(100) == b"QUESTION"
    assert child.returncode == 0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("account", ACCOUNTS)
def test_threads_run_and_libraries_and_mapped_files_are_loaded(account: str) -> None:
    folder = a_folder_for(account)
    (folder / "weights").write_bytes(b"weights" * 1000)
    (folder / "weights").chmod(0o644)
    folder.chmod(0o755)
    code = """
enter()
import asyncio, ctypes, mmap, socket, threading
done = []
threads = [threading.Thread(target=done.append, args=(n,)) for n in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
import sqlite3, ssl, zlib, lzma
with open(told["read"][0]) as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
one, other = socket.socketpair()
one.sendall(b"x")
tell([sorted(done), mapped[:7].decode(), ctypes.CDLL("libm.so.6").abs(-3),
      other.recv(1).decode(), asyncio.run(asyncio.sleep(0, "slept"))])
"""
    told = run(account, code, read=[folder / "weights"])
    assert told == [list(range(8)), "weights", 3, "x", "slept"]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_all_layers_are_in_force_where_this_kernel_has_them(account: str) -> None:
    layers, missing = run(account, "achieved = enter()\ntell([achieved.layers, achieved.missing])")
    assert sorted([*layers, *missing]) == sorted(LAYERS)
    if missing:
        pytest.skip(f"this system does not give this account: {missing}")
    assert tuple(layers) == LAYERS


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize(
    ("call", "number", "layer", "reason"),
    [
        ("unshare", errno.EPERM, "network", "forbids this account a network namespace"),
        ("landlock_create_ruleset", errno.ENOSYS, "files", "Linux 5.13"),
        ("landlock_create_ruleset", errno.EOPNOTSUPP, "files", "switched off"),
        ("landlock_restrict_self", errno.E2BIG, "files", "refused the Landlock rules"),
        ("seccomp", errno.ENOSYS, "syscalls", "no seccomp filters"),
        ("capset", errno.EPERM, "privileges", "refused to drop privileges"),
    ],
)
def test_a_layer_that_the_kernel_refuses_is_missing_with_the_reason_and_the_others_hold(
    account: str, call: str, number: int, layer: str, reason: str
) -> None:
    code = "achieved = enter()\ntell([achieved.layers, achieved.missing])"
    whole, already = run(account, code)
    layers, missing = run(account, code, broken={call: number})
    assert reason in missing[layer]
    assert set(missing) == {*already, layer}
    assert set(layers) == set(whole) - {layer}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_kernel_that_gives_nothing_at_all_leaves_the_limits(account: str) -> None:
    calls = ["unshare", "landlock_create_ruleset", "seccomp", "prctl", "capset"]
    code = "achieved = enter()\ntell([achieved.layers, achieved.missing])"
    layers, missing = run(account, code, broken=dict.fromkeys(calls, errno.ENOSYS))
    assert layers == ["limits"]
    assert set(missing) == set(LAYERS) - {"limits"}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_process_that_already_runs_threads_is_told_what_does_not_hold(account: str) -> None:
    code = """
import threading
stay = threading.Event()
threading.Thread(target=stay.wait, daemon=True).start()
achieved = enter()
tell(achieved.missing)
"""
    missing = run(account, code)
    assert {"network", "files", "privileges"} <= missing.keys()
    assert "already ran 2 threads" in missing["files"]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_kernel_confirms_what_was_given_up(account: str) -> None:
    code = """
with open("/proc/self/status") as status, open("/proc/self/limits") as limits:
    achieved = enter(keep=(0, 1, 2, status.fileno(), limits.fileno()), processes=None)
    status.seek(0)
    tell([achieved.layers, status.read(), limits.read()])
"""
    layers, status, limits = run(account, code)
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    if account == ROOT or "network" in layers:
        assert fields["CapBnd"] == "0" * 16
    if "syscalls" in layers:
        assert fields["Seccomp"] == "2"
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()[1:]}
    assert rows["Max file size"] == ["0", "0"]
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max open files"] == ["256", "256"]


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("isolated", [False, True])
def test_its_memory_is_closed_to_others_of_its_account(account: str, isolated: bool) -> None:
    code = "enter()\ntell(call('prctl', 3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
    assert run(account, code, isolated=isolated) == (0 if isolated else 1)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_nothing_is_inherited_but_the_named_descriptors(account: str) -> None:
    code = """
first, second = os.pipe()
spare = os.open("/etc/passwd", os.O_RDONLY)
enter(keep=(0, 1, 2, second))
tell([refusal_of(os.fstat, first), refusal_of(os.fstat, second), refusal_of(os.fstat, spare)])
"""
    assert run(account, code) == [errno.EBADF, 0, errno.EBADF]
    assert run(account, code, isolated=False) == [0, 0, 0]


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("isolated", [False, True])
def test_the_environment_is_gone_from_memory_too(account: str, isolated: bool) -> None:
    code = """
import ctypes
with open("/proc/self/environ", "rb") as block:
    enter(keep=(0, 1, 2, block.fileno()))
    left = block.read()
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
tell([os.environ.get("SECRET"), libc.getenv(b"SECRET") is not None, b"treasure" in left])
"""
    told = run(account, code, isolated=isolated, environment={"SECRET": "treasure"})
    assert told == ([None, False, False] if isolated else ["treasure", True, True])


@pytest.mark.parametrize("account", ACCOUNTS)
def test_memory_and_files_are_limited(account: str) -> None:
    folder = a_folder_for(account)
    code = """
enter(memory_bytes=256 << 20)
def write():
    with open(told["write"][0] + "/f", "w", buffering=1) as file:
        file.write("text\\n")
try:
    held = len(bytes(512 << 20))
except MemoryError:
    held = 0
tell([held, refusal_of(write)])
"""
    assert run(account, code, write=[folder]) == [0, errno.EFBIG]
    assert run(account, code, write=[folder], isolated=False) == [512 * MEBIBYTE, 0]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_write_folder_holds_sockets_and_files_and_nothing_else(account: str) -> None:
    folder = a_folder_for(account)
    code = """
folder = told["write"][0]
achieved = enter()
tell([
    refusal_of(os.mkdir, folder + "/a"),
    refusal_of(os.mkfifo, folder + "/b"),
    refusal_of(os.symlink, "/etc", folder + "/c"),
    refusal_of(os.open, folder + "/../d", os.O_WRONLY | os.O_CREAT),
    refusal_of(os.open, folder + "/e", os.O_WRONLY | os.O_CREAT),
])
"""
    # Landlock by itself, and with the filter in front of it
    for broken, number in (({"seccomp": errno.ENOSYS}, errno.EACCES), ({}, errno.EPERM)):
        told = run(account, code, write=[folder], broken=broken)
        assert told == [number] * 3 + [errno.EACCES, 0]


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("dies", [True, False])
def test_a_child_dies_with_its_parent(account: str, dies: bool) -> None:
    code = f"""
tell(os.getpid())
enter(dies_with_parent={dies})
tell("waits")
sys.stdin.read()
"""
    with start(account, code) as launcher:
        assert launcher.stdout is not None
        child = int(launcher.stdout.readline())
        assert launcher.stdout.readline() == '"waits"\n'
        launcher.kill()
        launcher.wait()
        assert _gone(child, within=5.0 if dies else 0.5) is dies
        if not dies:
            os.kill(child, signal.SIGKILL)


def _gone(process: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_root_still_reads_what_it_was_promised_in_another_users_folder() -> None:
    folder = a_folder_for(ROOT)
    inner = folder / "private"
    inner.mkdir(mode=0o700)
    for name in ("promised", "other"):
        (inner / name).write_text(name)
    if os.geteuid() == 0:
        os.chown(inner, NOBODY, NOBODY)
    code = """
path = told["read"][0]
achieved = enter()
with open(path) as file:
    text = file.read()
other = os.path.join(os.path.dirname(path), "other")
tell([text, refusal_of(os.open, other, os.O_RDONLY), "privileges" in achieved.layers])
"""
    assert run(ROOT, code, read=[inner / "promised"]) == ["promised", errno.EACCES, True]


def test_the_package_imports_nothing_else_of_casemate() -> None:
    code = """
others = [name for name in sys.modules
          if name.startswith("casemate.") and not name.startswith("casemate.isolation")]
tell(others)
"""
    account = ROOT if os.geteuid() == 0 else "ordinary"
    assert run(account, code, isolated=False) == []
