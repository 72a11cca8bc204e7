"""Chat templates in weights: what stands in for contents changes nothing that is written.

The templates are those that mistral-common makes for its models; the reference is plain Jinja.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest

pytest.importorskip("mistral_common", reason="mistral-common is not installed")
pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install 'casemate[llama]'")
pytest.importorskip("gguf", reason="gguf is not installed")

sys.path.append(str(Path(__file__).parents[2] / "integration" / "engines"))

import tiny_model
from mistral_common.integrations.chat_templates.chat_templates import (
    generate_chat_template,
)
from mistral_common.tokens.tokenizers.base import TokenizerVersion
from mistral_conversations import Author, Conversation

from casemate.engines.engine import Message, Tool
from casemate.engines.llama.tekken import Tekken
from casemate.engines.llama.vocabulary import Vocabulary
from casemate.engines.llama.weights_template import WeightsTemplate


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary.read(tiny_model.make(tmp_path_factory.mktemp("tiny")))


def chat_template(version: int) -> str:
    return generate_chat_template(
        spm=False,
        tokenizer_version=TokenizerVersion(f"v{version}"),
        image_support=False,
        audio_support=False,
        thinking_support=version >= 13,
        default_system_prompt=None,
        plain_thinking_support=False,
        use_special_token_variables=True,
        model_settings_fields=None,
        reasoning_effort_values=None,
        reasoning_effort_default=None,
    )


@pytest.mark.parametrize("version", [3, 7, 11, 13])
def test_stand_ins_change_no_token_and_let_none_in(vocabulary: Vocabulary, version: int) -> None:
    source = chat_template(version)
    template = WeightsTemplate(replace(vocabulary, chat_template=source))
    plain = plain_jinja(source)
    tekken = Tekken.of(vocabulary)
    compared = 0
    for seed in range(80):
        conversation = Author(seed, version).conversation()
        harmless = without_markers(conversation, vocabulary)
        expected = None if thinks_first(conversation) else rendered(plain, harmless)
        if expected is None:
            continue
        pieces = template.pieces(harmless.messages, harmless.tools)
        assert tekken.encode(pieces) == parsed(tekken, expected), harmless
        controls = [piece for piece in pieces if isinstance(piece, int)]
        pieces = template.pieces(conversation.messages, conversation.tools)
        assert [piece for piece in pieces if isinstance(piece, int)] == controls, conversation
        compared += 1
    assert compared > 20


def plain_jinja(source: str) -> jinja2.Template:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(source)


def rendered(template: jinja2.Template, conversation: Conversation) -> str | None:
    """What plain Jinja makes of it; None where the template refuses."""
    try:
        return template.render(
            messages=[as_dict(message) for message in conversation.messages],
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": json.loads(tool.parameters),
                    },
                }
                for tool in conversation.tools
            ]
            or None,
            bos_token="<s>",
            eos_token="</s>",
        )
    except jinja2.TemplateError:
        return None


def as_dict(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        made["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": value(call.arguments)},
            }
            for call in message.calls
        ]
    thinking = "".join(chunk.text for chunk in message.chunks if chunk.kind == "thinking")
    if thinking:
        made["reasoning_content"] = thinking
    if message.role == "tool":
        made["tool_call_id"] = message.answers
    return made


def value(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def parsed(tekken: Tekken, text: str) -> list[int]:
    """Tokens of a text in which control tokens count."""
    names = "|".join(map(re.escape, tekken.controls))
    parts = re.split(
        f"({names})", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    return tekken.encode([tekken.controls.get(part, part) for part in parts])


def thinks_first(conversation: Conversation) -> bool:
    """Whether a system prompt thinks, for which templates in weights have no common way."""
    return any(
        message.role == "system" and any(chunk.kind == "thinking" for chunk in message.chunks)
        for message in conversation.messages
    )


def without_markers(conversation: Conversation, vocabulary: Vocabulary) -> Conversation:
    """The same conversation with a letter in place of whatever is spelled like a control token."""
    names = re.compile("|".join(map(re.escape, vocabulary.controls)))

    def harmless(message: Message) -> Message:
        return Message(
            message.role,
            tuple(replace(chunk, text=names.sub("x", chunk.text)) for chunk in message.chunks),
            tuple(
                replace(call, id=names.sub("x", call.id), arguments=names.sub("x", call.arguments))
                for call in message.calls
            ),
            names.sub("x", message.answers),
        )

    return Conversation(
        tuple(map(harmless, conversation.messages)),
        tuple(
            Tool(tool.name, names.sub("x", tool.description), names.sub("x", tool.parameters))
            for tool in conversation.tools
        ),
    )
