"""Engines start the llama engine, and the ledger hears of it."""

from __future__ import annotations

import asyncio
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from llama_builders import Tiny, a_manifest, said

from casemate.engines.engine import Sampling
from casemate.engines.llama.engine import LlamaEngine
from casemate.engines.registry import Engines
from casemate.errors import Tampered, Unsupported
from casemate.gate.acts import Acts
from casemate.ledger.receipt import canonical

ANY: Any = None  # the perimeter, which no model that lies here asks


class Recorder:
    """A ledger that remembers, and takes only what has a canonical form."""

    index = 0

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def record(self, entry: Any) -> Recorder:
        canonical(entry)
        self.entries.append(entry)
        return self


def engines(recorder: Recorder, files: Any) -> Engines:
    acts = Acts(recorder, lambda: datetime(2026, 1, 2, tzinfo=UTC))
    return Engines(ANY, files=files, acts=acts, required_layers=lambda _: frozenset())


def test_start_and_end_of_a_process_are_recorded(tmp_path: Path) -> None:
    tiny, recorder = Tiny.make(tmp_path), Recorder()
    manifest = a_manifest(tiny.folder)

    async def ask() -> None:
        running = engines(recorder, lambda _: tiny.folder)
        engine = running.of(manifest)
        assert isinstance(engine, LlamaEngine)
        assert running.of(manifest) is engine
        assert recorder.entries == []  # nothing starts before it is needed
        await said(engine, sampling=Sampling(max_tokens=2))
        await running.close()

    asyncio.run(ask())
    started, stopped = recorder.entries
    assert (started["kind"], stopped["kind"]) == ("engine.started", "engine.stopped")
    for entry in recorder.entries:
        assert (entry["model"], entry["manifest"]) == ("tiny", manifest.digest())
    assert set(started["layers"]).isdisjoint(started["missing"])
    assert started["proof"]["TCP to an address abroad"] in ("EPERM", "EACCES", "ENETUNREACH")
    assert stopped["reason"] == "it was no longer needed"


def test_files_that_are_not_those_of_the_manifest_start_nothing(tmp_path: Path) -> None:
    tiny, recorder = Tiny.make(tmp_path), Recorder()

    def files(_: object) -> Path:
        raise Tampered("A file is another one.", "Restore it.")

    async def ask() -> None:
        running = engines(recorder, files)
        with pytest.raises(Tampered):
            await said(running.of(a_manifest(tiny.folder)))  # type: ignore[arg-type]
        await running.close()

    asyncio.run(ask())
    assert recorder.entries == []


def test_without_llama_cpp_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Tiny.make(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Unsupported) as missing:
        engines(Recorder(), lambda _: tiny.folder).of(a_manifest(tiny.folder))
    assert "pip install 'casemate[llama]'" in missing.value.next
