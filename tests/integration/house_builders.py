"""Builders for tests of the whole: an opened installation, its people, its papers, its commands."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ready_commands import ReadyCommands

from casemate.gate.caller import Caller
from casemate.installation import Installation
from casemate.library.importing import Added, File
from casemate.reasoning.event import Event, Finished, Request

FEES = """# Fees

The dog tax is 40 euros a year. It is due on 1 March.

A parking permit costs 75 euros. It is valid for twelve months.
"""
WASTE = """# Waste

Garbage is collected on Monday. Glass goes into the green container beside the town hall.
"""
PAYROLL = """# Payroll

The mayor's salary is 9,000 euros a month. The treasurer's salary is 8,000 euros a month.
"""
DOG_TAX = "How much is the dog tax?"
SALARY = "How much is the mayor's salary?"


@dataclass
class House:
    """An installation, and short ways to act in it."""

    installation: Installation
    folder: Path

    @property
    def owner(self) -> Caller:
        return self.installation.gate.owner()

    def label(self, text: str) -> Any:
        return self.installation.gate.country.policy.parse(text)

    def clear_owner_for(self, clearance: str) -> Caller:
        """The owner starts with the lowest clearance; raising it is an act of their own."""
        name = self.owner.principal.name
        self.installation.gate.principals.change(
            self.owner, name, clearance=self.label(clearance), roles=None
        )
        return self.owner

    def person(self, name: str, clearance: str = "unclassified", **more: Any) -> Caller:
        principals = self.installation.gate.principals
        principals.create(self.owner, name, clearance=self.label(clearance), **more)
        return Caller(principals.named(name), None, "local")

    def key(self, name: str) -> str:
        return self.installation.gate.keys.create(self.owner, name)[1]

    def collection(self, name: str, label: str | None = None, **more: Any) -> Any:
        return self.installation.library.create_collection(self.owner, name, label=label, **more)

    def use_case(self, id: str, ceiling: str, models: Sequence[str] = ("quote",)) -> str:
        """A use case, approved by a second person."""
        use_cases = self.installation.gate.use_cases
        use_cases.register(
            self.owner,
            id,
            purpose="To help the counter.",
            legal_basis="The commune's own tasks.",
            risk="minimal",
            models=models,
            ceiling=self.label(ceiling),
            oversight="none",
            retention_days=400,
            screening=use_cases.not_prohibited("It judges nobody."),
        )
        use_cases.approve(self.person(f"second {id}", ceiling, roles=("admin",)), id)
        return id

    def add(self, collection: str, **texts: str) -> dict[str, Added]:
        """Markdown documents by name, without their ending, in a collection (made if needed)."""
        library = self.installation.library
        if collection not in {one.name for one in library.collections(self.owner)}:
            self.collection(collection)
        files = [a_file(f"{name}.md", text.encode()) for name, text in texts.items()]
        return {one.name: one for one in library.add_all(self.owner, collection, files)}

    def events(self, caller: Caller, question: str, **more: Any) -> list[Event]:
        """Every event of a run."""

        async def follow() -> list[Event]:
            request = Request(question=question, **more)
            try:
                async with aclosing(self.installation.ask(caller, request)) as events:
                    return [event async for event in events]
            finally:
                await self.installation.engines.close()

        return asyncio.run(follow())

    def ask(self, question: str, caller: Caller | None = None, **more: Any) -> Finished:
        last = self.events(caller or self.owner, question, **more)[-1]
        assert isinstance(last, Finished)
        return last

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for _, raw in self.installation.log.entries()]

    def entries_of(self, run: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries() if entry.get("run") == run]


@contextmanager
def a_house(folder: Path, **settings: Any) -> Iterator[House]:
    with Installation.open(folder, **settings) as installation:
        yield House(installation, folder)


def a_file(name: str, content: bytes) -> File:
    return File(name, len(content), lambda: content)


def some_papers(folder: Path) -> Path:
    """A folder with two documents, as somebody would add it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fees.md").write_text(FEES, encoding="utf-8")
    (folder / "waste.md").write_text(WASTE, encoding="utf-8")
    return folder


# The command line, from outside


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self) -> str:
        """The one clear line on stderr of a command that exits 1; fails if it is not like that."""
        assert self.code == 1, self
        assert "Traceback" not in self.out + self.err, self
        (line,) = self.err.splitlines()
        assert line.startswith("casemate: "), self
        assert "Something went wrong inside" not in line, self
        return line

    def fine(self) -> Done:
        assert self.code == 0, self
        assert self.err == "", self
        return self


def an_environment(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("CASEMATE_")}
    return {**kept, "LC_ALL": "C.UTF-8", **more}


def command(*arguments: str | bytes | Path, data: Path | None = None) -> list[Any]:
    where: list[Any] = [] if data is None else ["--data", data]
    return [sys.executable, "-m", "casemate", *where, *arguments]


def casemate(*arguments: str | bytes | Path, data: Path | None = None, **options: Any) -> Done:
    """Run one command in a process of its own, forked from one that is ready where that will do."""
    environment = an_environment(**options.pop("env", {}))
    if options.keys() <= {"cwd", "input"} and "PYTHONPATH" not in environment:
        written = [os.fsencode(one) for one in command(*arguments, data=data)[3:]]
        folder, given = options.get("cwd"), options.get("input", b"")
        code, out, errors = _ready().run(
            written, environment, None if folder is None else str(folder), given
        )
    else:
        done = subprocess.run(
            command(*arguments, data=data), capture_output=True, env=environment, **options
        )
        code, out, errors = done.returncode, done.stdout, done.stderr
    return Done(
        code, out.decode("utf-8", "surrogateescape"), errors.decode("utf-8", "surrogateescape")
    )


@cache
def _ready() -> ReadyCommands:
    return ReadyCommands()


# A server, from outside


@dataclass(frozen=True)
class Answer:
    """An HTTP response, byte for byte."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def without(self, *names: str) -> tuple[int, dict[str, str], bytes]:
        kept = {name: text for name, text in self.headers.items() if name not in names}
        return self.status, kept, self.body


@dataclass
class Server:
    """``casemate up`` in a process of its own."""

    process: subprocess.Popen[str]
    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        found = re.search(r"https?://127\.0\.0\.1:(\d+)$", self.said[0])
        assert found, self.said
        return int(found.group(1))

    @property
    def link(self) -> str:
        """The path of the sign-in link that was printed."""
        return self.said[2].strip().split(f":{self.port}", 1)[1]

    def http(
        self,
        method: str,
        path: str,
        *,
        key: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request(method, path, body, {**sent, **(headers or {})})
            response = connection.getresponse()
            given = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, given, response.read())
        finally:
            connection.close()

    def ask(self, question: str, *, key: str, **more: Any) -> Answer:
        body = json.dumps({"question": question, **more}).encode()
        return self.http(
            "POST", "/api/runs", key=key, body=body, headers={"Content-Type": "application/json"}
        )

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(by)
        return self.process.wait(60)


@contextmanager
def a_server(folder: Path, *options: str) -> Iterator[Server]:
    """A running server on a free port of loopback."""
    process = subprocess.Popen(
        command("up", "--port", "0", *options, data=folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=an_environment(PYTHONUNBUFFERED="1"),
    )
    try:
        server = Server(process, folder)
        assert process.stdout is not None
        for line in process.stdout:
            server.said.append(line.rstrip("\n"))
            if line.startswith("Stop with"):
                break
        assert len(server.said) == 4, (server.said, process.stderr and process.stderr.read())
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
