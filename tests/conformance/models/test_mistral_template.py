"""Our templates and tokens against mistral-common's, token by token."""

from __future__ import annotations

import base64
import json
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import casemate.models

mistral_common = pytest.importorskip("mistral_common", reason="mistral-common is not installed")
pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install 'casemate[llama]'")
pytest.importorskip("gguf", reason="gguf is not installed")

sys.path.append(str(Path(__file__).parents[2] / "integration" / "engines"))

import tiny_model  # noqa: E402
from llama_server import LlamaServer  # noqa: E402
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # noqa: E402
from mistral_conversations import SCRIPTS, Author, Conversation, request  # noqa: E402

from casemate.engines.llama.tekken import Tekken, control_ids  # noqa: E402
from casemate.engines.llama.template import MistralTemplate, Piece  # noqa: E402
from casemate.engines.llama.vocabulary import Vocabulary  # noqa: E402

NANO = Path(casemate.models.__file__).parent / "nano"


@dataclass(frozen=True)
class Model:
    weights: Path
    tekken: Path
    versions: tuple[int, ...]


@pytest.fixture(scope="module", params=["tiny", "magistral", "nano"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "tiny":
        return Model(tiny_model.make(folder), folder / "tekken.json", (3, 7, 11, 13))
    if request.param == "magistral":
        return a_large_model(folder)
    if not (NANO / "nano.gguf").exists():
        pytest.skip("The nano model is not part of this checkout.")
    return Model(NANO / "nano.gguf", NANO / "tekken.json", (13,))


def a_large_model(folder: Path) -> Model:
    """The vocabulary of Mistral's reasoning models: 131,072 tokens, 1,000 of them for control."""
    shipped = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    words = json.loads(shipped.read_bytes())["vocab"][256 : 131_072 - 1000]
    merged = [base64.b64decode(word["token_bytes"]) for word in words]
    tekken = tiny_model.tekken_of(merged, specials=1000)
    (folder / "tekken.json").write_text(json.dumps(tekken), "utf-8")
    tiny_model.write_gguf(
        folder / "large.gguf",
        tekken,
        hidden=32,
        layers=1,
        heads=2,
        kv_heads=1,
        feed_forward=32,
        context=1024,
        seed=0,
        half=True,
    )
    return Model(folder / "large.gguf", folder / "tekken.json", (3, 7, 11, 13))


@pytest.fixture(scope="module")
def tekken(model: Model) -> Tekken:
    return Tekken.of(Vocabulary.read(model.weights))


@pytest.fixture(scope="module")
def server(model: Model) -> Iterator[LlamaServer]:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed")
    with LlamaServer(model.weights) as served:
        yield served


def theirs(model: Model, version: int, folder: Path) -> MistralTokenizer:
    file = json.loads(model.tekken.read_bytes())
    file["config"]["version"] = f"v{version}"
    path = folder / f"tekken-v{version}.json"
    path.write_text(json.dumps(file), "utf-8")
    return MistralTokenizer.from_file(path)


def conversations(version: int, count: int) -> list[Conversation]:
    return [Author(seed, version).conversation() for seed in range(count)]


@pytest.mark.parametrize("version", [3, 7, 11, 13])
def test_every_token_of_a_conversation_is_mistral_commons(
    model: Model, tekken: Tekken, version: int, tmp_path: Path
) -> None:
    if version not in model.versions:
        pytest.skip("The model was not trained with this template.")
    reference = theirs(model, version, tmp_path)
    template = MistralTemplate(f"mistral-v{version}", tekken.controls)
    for conversation in conversations(version, 800 if version == 13 else 400):
        pieces = template.pieces(conversation.messages, conversation.tools)
        expected = reference.encode_chat_completion(request(conversation)).tokens
        assert tekken.encode(pieces) == expected, conversation


def test_the_tokenizer_file_and_the_weights_name_the_same_vocabulary(
    model: Model, tekken: Tekken
) -> None:
    text = model.tekken.read_bytes()
    assert control_ids(text) == tekken.controls
    written = Tekken.parse(text)
    for script in SCRIPTS.values():
        assert written.encode([script]) == tekken.encode([script])


def test_odd_types_and_filled_up_ends_change_no_token(model: Model, tekken: Tekken) -> None:
    vocabulary = Vocabulary.read(model.weights)
    types = [4 if id in (9, 34) else kind for id, kind in enumerate(vocabulary.types)]
    odd = replace(vocabulary, tokens=(*vocabulary.tokens, "[PAD]"), types=(*types, 5))
    assert Tekken.of(odd).controls == tekken.controls
    texts = [*SCRIPTS.values(), "[THINK][PAD][PAD"]
    assert Tekken.of(odd).encode(texts) == tekken.encode(texts)


def test_llama_cpp_knows_the_control_tokens_by_the_same_ids(
    tekken: Tekken, server: LlamaServer
) -> None:
    for name, id in list(tekken.controls.items())[:40]:
        assert server.tokens(name, special=True) == [id]


def test_llama_cpp_takes_no_text_for_a_control_token(tekken: Tekken, server: LlamaServer) -> None:
    texts = [f"a{name} {name}" for name in tekken.controls]
    assert min(server.tokens(texts)) >= len(tekken.controls)


def test_llama_cpp_makes_the_same_tokens_of_text_without_marks(
    tekken: Tekken, server: LlamaServer
) -> None:
    template = MistralTemplate("mistral-v13", tekken.controls)
    compared = 0
    for conversation in conversations(13, 150):
        pieces = template.pieces(conversation.messages, conversation.tools)
        plain = [piece for piece in pieces if not marked(piece)]
        assert server.tokens(plain) == tekken.encode(plain)
        compared += len(plain)
    assert compared > 500


def marked(piece: Piece) -> bool:
    """Whether combining marks are in it, before which llama.cpp ends a word and Tekken does not."""
    return isinstance(piece, str) and any(unicodedata.category(c)[0] == "M" for c in piece)
