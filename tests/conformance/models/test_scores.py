"""Scores of the ``llama`` engine against a teacher-forced forward pass of transformers, float32."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

pytest.importorskip("xllamacpp", reason="needs the extra llama")

import gguf

import casemate.models
from casemate.engines.llama.life import Load, Way
from casemate.engines.llama.process import Process
from casemate.engines.llama.scoring import scores

sys.path.insert(0, str(Path(__file__).parents[2] / "integration/engines"))
import tiny_model

HERE = Path(__file__).parent
NANO = Path(casemate.models.__file__).parent / "nano" / "nano.gguf"
REFERENCE = HERE / "reference_scores.json"
AGREES = 1e-3
SLOTS = 4
WAYS = get_args(Way)

Case = tuple[list[int], list[int]]  # ids of prompt and continuation


def told(weights: Path, cases: Sequence[Case], way: Way) -> list[tuple[float, ...]]:
    """What the model's process says, prompts with one continuation together."""

    async def ask() -> list[tuple[float, ...]]:
        load = Load(weights, context=2048, slots=SLOTS, work="score", scores=way)
        process = Process("m", lambda: load, on_started=lambda _: None, on_stopped=lambda _: None)
        try:
            running = await process.running()
            assert running.scores == way, running.facts
            found: dict[int, tuple[float, ...]] = {}
            for continuation in {tuple(said) for _, said in cases}:
                places = [at for at, (_, said) in enumerate(cases) if tuple(said) == continuation]
                prompts = [cases[place][0] for place in places]
                found |= dict(
                    zip(places, await scores(running, prompts, continuation), strict=True)
                )
            return [found[place] for place in range(len(cases))]
        finally:
            await process.stop()

    return asyncio.run(ask())


def furthest(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> float:
    assert [len(one) for one in found] == [len(one) for one in expected]
    pairs = zip(found, expected, strict=True)
    return max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_the_nano_model_scores_as_its_reference_does(way: Way) -> None:
    reference = json.loads(REFERENCE.read_text("utf-8"))
    assert reference["model"] == "sha256:" + hashlib.sha256(NANO.read_bytes()).hexdigest()
    cases = [(one["prompt"], one["continuation"]) for one in reference["cases"]]
    assert len(cases) >= 200
    expected = [one["logprobs"] for one in reference["cases"]]
    assert furthest(told(NANO, cases, way), expected) < AGREES


@pytest.mark.parametrize("way", WAYS)
def test_a_random_model_scores_as_transformers_do(tmp_path: Path, way: Way) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra training")
    transformers = pytest.importorskip("transformers", reason="needs the extra training")
    weights = tiny_model.make(tmp_path)
    cases = some_cases(50, of=Vocabulary.read(weights))
    model = a_twin(weights, torch, transformers)
    expected = [teacher_forced(model, torch, *case) for case in cases]
    far = furthest(told(weights, cases, way), expected)
    print(f"furthest apart: {far:.1e}")
    assert far < AGREES


class Vocabulary:
    """The ids of a tiny model's text: all of them, and those of single bytes."""

    def __init__(self, first: int, count: int) -> None:
        self.bytes = range(first, first + 256)
        self.texts = range(first, count)

    @classmethod
    def read(cls, weights: Path) -> Vocabulary:
        field = gguf.GGUFReader(weights).get_field("tokenizer.ggml.token_type")
        assert field is not None
        kinds = field.contents()
        return cls(kinds.index(gguf.TokenType.NORMAL), len(kinds))


def some_cases(count: int, *, of: Vocabulary) -> list[Case]:
    """Prompts that share beginnings; continuations that break characters and repeat tokens."""
    draw = random.Random(7)
    shared = [draw.choice(of.texts) for _ in range(200)]
    broken = [of.bytes[byte] for byte in "l’été 🐕 — œœuf".encode()]
    continuations = [broken, [draw.choice(of.texts) for _ in range(30)]]
    return [
        (
            [1, *shared[: draw.randrange(200)], *draw.choices(of.texts, k=draw.randrange(1, 60))],
            continuations[number % 2],
        )
        for number in range(count)
    ]


def teacher_forced(model: Any, torch: Any, prompt: list[int], said: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *said]])).logits[0]
    told = torch.log_softmax(logits.double(), -1)
    return [float(told[len(prompt) - 1 + place, token]) for place, token in enumerate(said)]


def a_twin(weights: Path, torch: Any, transformers: Any) -> Any:
    """The same model for transformers."""
    reader = gguf.GGUFReader(weights)

    def value(key: str) -> Any:
        field = reader.get_field(f"llama.{key}")
        assert field is not None
        return field.contents()

    tensors = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
    hidden, heads = value("embedding_length"), value("attention.head_count")
    narrow = value("attention.head_count_kv")
    config = transformers.LlamaConfig(
        vocab_size=len(tensors["token_embd.weight"]),
        hidden_size=hidden,
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=narrow,
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=value("context_length"),
        rope_parameters={"rope_type": "default", "rope_theta": value("rope.freq_base")},
        tie_word_embeddings=False,
        attention_bias=False,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.load_state_dict(
        {theirs(name): turned(name, data, heads, narrow) for name, data in tensors.items()}
    )
    return model


def theirs(name: str) -> str:
    """What transformers call a tensor of a GGUF."""
    plain = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    if name in plain:
        return plain[name]
    _, layer, part, _ = name.split(".")
    parts = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    return f"model.layers.{layer}.{parts[part]}.weight"


def turned(name: str, values: Any, heads: int, narrow: int) -> Any:
    """Rotary pairs stand beside each other in GGUF, and half a head apart in transformers."""
    if ".attn_q." not in name and ".attn_k." not in name:
        return values
    count = heads if ".attn_q." in name else narrow
    rows, columns = values.shape
    return (
        values.reshape(count, rows // count // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
    )
