"""Runs the examples in README.md and docs/ as a reader would, and compares what they print.

In a fenced block marked ``console``, a line that begins with ``$ `` is a command, lines that begin
with ``> `` go on with it, and the rest is what it prints. A line ``…`` stands for any text. A
block whose first line is ``# name.ext`` or ``// name.ext`` is a file, written before what follows
it. Each document is one session, in an empty home folder. Ids, times, digests, keys, sign-in
tokens, scores and white space are not compared. A command ending in ``&`` is a server. Output that
begins with ``casemate:`` is a refusal, and the command then has to exit with 1. Other blocks are
not run.

Usage: python tools/examples.py [--write] [DOCUMENT…]     (--write puts what is printed in place)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORT, MODEL_PORT = "8470", "8000"  # as documents write them; real ports are free ones
SECONDS = 120
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:#|//) ([\w.-]+\.\w+)\n")
_LOOSE = (
    (re.compile(r"\b([a-z]{1,4})_[0-9a-f]{16,}\b"), r"\1_ID"),
    (re.compile(r"casemate\.local/[0-9a-f]{8}"), "casemate.local/ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?"), "TIME"),
    (re.compile(r"\+[0-9a-f]{8}\+"), "+KEY+"),
    (re.compile(r"\bcm_\w+"), "SECRET"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "DIGEST"),
    (re.compile(r"\bp[a-z2-7]{16}\b"), "PSEUDONYM"),
    (re.compile(r"sign-in/(?:…|[\w-]+)"), "sign-in TOKEN"),
    (re.compile(r"[\w+/-]{24,}={0,2}"), "TEXT"),
    (re.compile(r"score \d+\.\d+"), "score N"),
    (re.compile(r"\s+"), " "),
)


@dataclass
class Example:
    """One command and what the document says it prints, with its place in the document."""

    command: str
    expected: str
    start: int  # where what is printed stands
    end: int
    printed: str = ""
    status: int = 0

    @property
    def as_said(self) -> bool:
        """Whether the document tells the truth about it."""
        refused = self.expected.startswith("casemate:")
        return self.status == (1 if refused else 0) and matches(self.expected, self.printed)


@dataclass
class Document:
    """A document's examples and files, in their order."""

    path: Path
    text: str
    parts: list[Example | tuple[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Document:
        """Find the examples."""
        document = cls(path, path.read_text(encoding="utf-8"))
        for fence in _FENCE.finditer(document.text):
            kind, body = fence.groups()
            if kind == "console":
                document.parts += _examples(body, fence.start(2))
            elif named := _FILE.match(body):
                document.parts.append((named.group(1), body))
        return document

    @property
    def examples(self) -> list[Example]:
        """Its commands."""
        return [part for part in self.parts if isinstance(part, Example)]

    def corrected(self) -> str:
        """Its text with what was printed in place of what was not so."""
        text = self.text
        for example in reversed(self.examples):
            if not example.as_said:
                text = text[: example.start] + example.printed + text[example.end :]
        return text


def documents() -> list[Path]:
    """Every document with examples."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if Document.read(path).examples]


def matches(expected: str, printed: str) -> bool:
    """Whether the two say the same, apart from what differs each time."""
    pieces = re.split(r"^…\n", expected, flags=re.MULTILINE)
    pattern = ".*".join(re.escape(_loose(piece)) for piece in pieces)
    return re.fullmatch(pattern, _loose(printed)) is not None


def run(document: Document) -> None:
    """Run the examples of a document and keep what they print."""
    with tempfile.TemporaryDirectory(prefix="casemate-docs-") as home, _model() as model:
        ports = {PORT: str(_free_port()), MODEL_PORT: model}
        session = Session(Path(home), ports)
        try:
            for part in document.parts:
                if isinstance(part, Example):
                    session.run(part)
                else:
                    name, content = part
                    Path(home, name).write_text(session.real(content), encoding="utf-8")
        finally:
            session.close()


class Session:
    """A shell in an empty home folder, with casemate, ./dev and python3 at hand."""

    def __init__(self, home: Path, ports: dict[str, str]) -> None:
        self._home = home
        self._ports = ports
        tools = Path(sys.executable).parent
        shims = home / ".bin"
        shims.mkdir()
        for place, program in (
            (shims / "casemate", tools / "casemate"),
            (shims / "python3", Path(sys.executable)),
            (home / "dev", tools / "casemate"),
        ):
            place.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
            place.chmod(0o755)
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=home,
            env={
                "HOME": str(home),
                "PATH": f"{shims}{os.pathsep}/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "COLUMNS": "80",
                "CASEMATE_PORT": ports[PORT],
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._read = b""
        self._more = threading.Condition()
        threading.Thread(target=self._follow, daemon=True).start()

    def run(self, example: Example) -> None:
        """Give the shell one command and wait for what it prints."""
        if example.command.endswith("&"):
            self._write(self.real(example.command))
            self._wait_for_server()
            lines = example.expected.count("\n")
            printed = self._until(lambda seen: seen.count(b"\n") >= lines)
            example.printed = self._said(printed)
            return
        mark = f"done-{secrets.token_hex(8)}"
        self._write(f"{self.real(example.command)}\nprintf '%s %s\\n' {mark} $?")
        printed = self._until(lambda seen: re.search(rb"%s \d+\n" % mark.encode(), seen))
        text, _, status = printed.partition(mark.encode())
        example.printed, example.status = self._said(text), int(status)

    def real(self, text: str) -> str:
        """A document's words with the ports that are used now."""
        for written, used in self._ports.items():
            text = re.sub(rf"(?<=:){written}\b|(?<=--port ){written}\b", used, text)
        return text

    def close(self) -> None:
        """End the shell and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGTERM)
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            self._shell.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)

    def _said(self, printed: bytes) -> str:
        text = printed.decode()
        for written, used in self._ports.items():
            text = re.sub(rf"\b{used}\b", written, text)
        return text.replace(str(self._home), "~")

    def _write(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text.encode() + b"\n")
        self._shell.stdin.flush()

    def _follow(self) -> None:
        assert self._shell.stdout is not None
        while piece := os.read(self._shell.stdout.fileno(), 65536):
            with self._more:
                self._read += piece
                self._more.notify()

    def _until(self, enough: Callable[[bytes], object]) -> bytes:
        with self._more:
            if not self._more.wait_for(lambda: enough(self._read), SECONDS):
                raise TimeoutError(f"Still waiting, after: {self._read[-2000:]!r}")
            printed, self._read = self._read, b""
            return printed

    def _wait_for_server(self) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self._ports[PORT]}/readyz", timeout=5)
                return
            time.sleep(0.02)
        raise TimeoutError("The server did not become ready.")


class _Model(BaseHTTPRequestHandler):
    """A stand-in for a model server: it streams one cited sentence, as vLLM would."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for word in ("The cellar is rinsed ", "on the first Monday of each month ", "[1]."):
            chunk = {"choices": [{"index": 0, "delta": {"content": word}}]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _model() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_address[1])
        server.shutdown()


def _examples(body: str, start: int) -> Iterator[Example]:
    found: list[Example] = []
    place = start
    for line in body.splitlines(keepends=True):
        after = place + len(line)
        if line.startswith("$ "):
            found.append(Example(line[2:].rstrip("\n"), "", after, after))
        elif line.startswith((">\n", "> ")) and found and not found[-1].expected:
            found[-1].command += "\n" + line[2:].rstrip("\n")
            found[-1].start = found[-1].end = after
        elif found:
            found[-1].expected += line
            found[-1].end = after
        place = after
    yield from found


def _loose(text: str) -> str:
    for pattern, instead in _LOOSE:
        text = pattern.sub(instead, text)
    return text.strip()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or correct."""
    parser = argparse.ArgumentParser(description="Run the examples in the documents.")
    parser.add_argument("document", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help="put what is printed in place")
    chosen = parser.parse_args(arguments)
    wrong = 0
    for path in chosen.document or documents():
        document = Document.read(path)
        run(document)
        for example in document.examples:
            if not example.as_said:
                wrong += 1
                print(f"{path}: $ {example.command}\nexits {example.status} and prints:")
                print(example.printed)
        if chosen.write:
            path.write_text(document.corrected(), encoding="utf-8")
    return 1 if wrong and not chosen.write else 0


if __name__ == "__main__":
    sys.exit(main())
