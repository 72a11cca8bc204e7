"""Builders for tests of the ``llama`` engine: tiny models on disk, prompts, engines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tiny_model

from casemate.engines.engine import Message, Prompt, Sampling, Token, Tool
from casemate.engines.llama.engine import House, LlamaEngine
from casemate.engines.llama.life import Isolated
from casemate.engines.llama.vocabulary import Vocabulary
from casemate.gate.country import Country
from casemate.gate.label import Label
from casemate.models.manifest import Manifest

POLICY = Country.load("lu").policy
LOWEST = POLICY.lowest()


def scripted(path: Path, script: Sequence[int]) -> None:
    """Change the weights so that each token of ``script`` is followed by the next one.

    A token may stand in it once: the model then knows nothing but the token before.
    """
    assert len(set(script)) == len(script)
    reader = gguf.GGUFReader(path, "r+")
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    for name, values in tensors.items():
        if name.endswith(("attn_output.weight", "ffn_down.weight")):
            values[:] = 0
    begins = tensors["token_embd.weight"]
    begins /= np.linalg.norm(begins, axis=1, keepdims=True)
    ends = tensors["output.weight"]
    ends[:] = 0
    for before, after in pairwise(script):
        ends[after] = 4 * begins[before]
    for values in tensors.values():
        values.flush()


def ids(path: Path, *parts: str) -> list[int]:
    """Control tokens by name, other texts letter by letter."""
    controls = Vocabulary.read(path).controls
    found = []
    for part in parts:
        letters = [len(controls) + byte for byte in part.encode("utf-8", "surrogateescape")]
        found += [controls[part]] if part in controls else letters
    return found


def a_manifest(folder: Path, *, name: str = "tiny", **parts: Any) -> Manifest:
    """A manifest of the files in ``folder``."""
    files = {
        file.name: "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }
    profile = {"template": "mistral-v13", "thinking": "tokens", "tools": True}
    return Manifest.new(
        **{
            "name": name,
            "version": "1",
            "engine": "llama",
            "architecture": "Llama, random weights.",
            "licence": "CC0-1.0",
            "origin": "Made for a test.",
            "intended_use": "Tests.",
            "limits": "Makes no sense.",
            "label": "unclassified",
            "files": files,
            "weights": "tiny.gguf",
            "tokenizer": "tekken.json",
            "profile": profile,
            "context_length": 512,
        }
        | parts
    )


@dataclass
class Seen:
    """What the house was told."""

    started: list[Isolated] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


@dataclass
class Tiny:
    """A tiny model on disk with engines for it."""

    folder: Path
    seen: Seen = field(default_factory=Seen)
    layers: Callable[[Label], frozenset[str]] = lambda label: frozenset({"network"})

    @classmethod
    def make(cls, folder: Path, script: Sequence[str] = (), **size: Any) -> Tiny:
        """A model that writes ``script``, or anything."""
        path = tiny_model.make(folder, **({"hidden": 256, "heads": 4} if script else {}) | size)
        if script:
            scripted(path, ids(path, *script))
        return cls(folder)

    @property
    def path(self) -> Path:
        return self.folder / "tiny.gguf"

    def engine(self, *, slots: int = 4, threads: int | None = 1, **manifest: Any) -> LlamaEngine:
        return LlamaEngine(
            a_manifest(self.folder, **manifest),
            House(
                files=lambda _: self.folder,
                required_layers=self.layers,
                on_started=lambda _, isolated: self.seen.started.append(isolated),
                on_stopped=lambda _, reason: self.seen.stopped.append(reason),
                slots=slots,
                threads=threads,
            ),
        )


def a_prompt(text: str = "How?", *, label: Label = LOWEST, tools: Sequence[Tool] = ()) -> Prompt:
    """A prompt that is one message."""
    return Prompt(
        question=text,
        language="en",
        label=label,
        found=(),
        evidence=(),
        messages=(Message.of("user", text),),
        tools=tuple(tools),
    )


async def said(
    engine: LlamaEngine, prompt: Prompt | None = None, sampling: Sampling | None = None
) -> list[Token]:
    """All tokens of one answer."""
    stream = engine.generate(
        prompt or a_prompt(), sampling or Sampling(temperature=0.0, seed=1, max_tokens=24)
    )
    async with aclosing(stream) as tokens:
        return [token async for token in tokens]


def text_of(tokens: Sequence[Token], kind: str = "text") -> str:
    """The text of one kind."""
    return "".join(token.text for token in tokens if token.kind == kind)


def an_adapter(path: Path, *, hidden: int = 64, seed: int = 5) -> None:
    """A LoRA adapter for the first layer of a tiny model."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name, (rows, columns) in {"lora_a": (4, hidden), "lora_b": (hidden, 4)}.items():
        values = random.standard_normal((rows, columns)).astype(np.float32)
        writer.add_tensor(f"blk.0.attn_output.weight.{name}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
