"""A process that has the program loaded, and forks one like it for each command of a test.

Starting Python and importing costs a third of a second, and these tests run more than a thousand
commands. A fork gets the arguments, environment, folder and streams of the command and then runs
``python -m casemate`` as it stands; nothing of one command is left in the next.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOADED = (
    *("alembic.command", "casemate.cli.main", "casemate.installation", "casemate.cli.demo"),
    *(f"casemate.cli.acts.{name}" for name in ("asking", "documents", "ledger", "models")),
    *(f"casemate.cli.acts.{name}" for name in ("people", "record", "usecase", "perimeter")),
)
_MOST = 1 << 20  # bytes of a request


class ReadyCommands:
    """The process, on the side of the tests."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._address = str(Path(self._folder.name) / "commands")
        kept = {name: text for name, text in os.environ.items() if not name.startswith("CASEMATE_")}
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._address],
            stdin=subprocess.PIPE,  # it ends when this end closes, however that happens
            stdout=subprocess.PIPE,
            env={**kept, "LC_ALL": "C.UTF-8"},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def run(
        self,
        arguments: list[bytes],
        environment: dict[str, str],
        folder: str | None = None,
        input: bytes = b"",
    ) -> tuple[int, bytes, bytes]:
        """Exit code, output and errors of one command."""
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as errors,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            given.write(input)
            given.seek(0)
            request = json.dumps(
                {
                    "arguments": [one.hex() for one in arguments],
                    "environment": environment,
                    "folder": folder or os.getcwd(),
                }
            ).encode()
            connection.connect(self._address)
            streams = [given.fileno(), out.fileno(), errors.fileno()]
            socket.send_fds(connection, [len(request).to_bytes(4, "big")], streams)
            connection.sendall(request)
            status = connection.recv(16)
            for file in (out, errors):
                file.seek(0)
            return int(status), out.read(), errors.read()


def serve(address: str) -> None:
    """Fork for each request until standard input closes."""
    for name in LOADED:
        __import__(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(16)
        if os.fork() == 0:  # ends the one that listens when the tests are gone
            while os.read(0, 1):
                pass
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.write(1, b"ready\n")
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _attend(connection)
            connection.close()


def _attend(connection: socket.socket) -> None:
    """Fork once more for the command, and say how it ended."""
    length, streams, _, _ = socket.recv_fds(connection, 4, 3)
    wanted = int.from_bytes(length, "big")
    raw = b""
    while len(raw) < wanted:
        raw += connection.recv(min(_MOST, wanted - len(raw)))
    child = os.fork()
    if child == 0:
        connection.close()
        _become(json.loads(raw), streams)
        return
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Run the command here; the interpreter then ends as it always does."""
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    arguments = [os.fsdecode(bytes.fromhex(one)) for one in request["arguments"]]
    sys.argv = ["casemate", *arguments]
    runpy.run_module("casemate", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
