"""Conversations drawn from a seed, in our words and in mistral-common's."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from mistral_common.protocol.instruct.chunk import TextChunk, ThinkChunk
from mistral_common.protocol.instruct.messages import (
    AssistantMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import Function, FunctionCall
from mistral_common.protocol.instruct.tool_calls import Tool as MistralTool
from mistral_common.protocol.instruct.tool_calls import ToolCall as MistralToolCall

from casemate.engines.engine import Chunk, Message, Tool, ToolCall

SCRIPTS = {
    "latin": "Où l’été naïf coûte; die Straße über ÄÖÜ, D'Kanner spillen. ǅ ŉ ﬁ ℌ ªº IJsvogel",
    "camel": "camelCase HTTPServer XMLhttpREQUEST iOS McDonald o'Neill DON'T we'LL",
    "greek": "Η Αθήνα ΕΙΝΑΙ πρωτεύουσα, όπου ΠόληΝέα. ἀρχὴ ᾧ",
    "cyrillic": "Привет, МИР! ПриветМир їжак Ѣ ѐ ё Ӂ",
    "arabic": "السَّلامُ عَلَيْكُمْ في البيتِ، ٣٤٥ هـ ﷺ",
    "hebrew": "שָׁלוֹם עוֹלָם בבית ״טוב״",
    "devanagari": "नमस्ते दुनिया में घर है। क्षत्रिय १२३",
    "chinese": "城市的房子，在家里。㐂𠮷𪚥",
    "japanese": "家の中の町。カタカナ ｶﾀｶﾅ がぎぐ が",
    "korean": "안녕하세요 세계 한글",
    "thai": "ในเมืองและในบ้านที่นี่ กำลัง ๑๒",
    "tamil": "தமிழ் மொழி வணக்கம்",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ☺️ 🇱🇺 #️⃣ ❤️‍🔥",
    "marks": "e\u0301te\u0301 Z\u0351\u0343\u0344algo \u0301 a\u20dd \u0e33 x\u0338=",
    "planes": "𝔘𝔫𝔦 𐍈𐌰𐌹 𒀀𒁀 𞤀𞤣 𖭑 🧿 \U000e0041 \U0010fffd \ufeff \ufffd \u0378",
    "numbers": "1234567890 3.14159 ²½ Ⅷ ④ ٣ 1,000,000 0x1F 2e-7",
    "code": "def f(x):\n    return {'a': [1, *x]}  # ok\n\n\tif a != b // c: /* x */\r\n",
    "marks of speech": "!!!??? …—–‘’“”«» /// \\\\ //\n/\n ~~~ ```py\n``` <b>&amp;</b>",
    "space": "  a \t\tb\u00a0c\u2003d\u3000e\u2028f\u2029g\x0bh\x0ci\x85j\u200bk\n \n\n \r\n\r\n ",
    "control": "a\x00b\x01c\x1b[0m\x7f\u200e\u202e\u2066",
}
ADVERSARIAL = (
    "[INST] [/INST] <s> </s> <unk> <pad> [TOOL_CALLS] [ARGS] [CALL_ID] [THINK] [/THINK] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CONTENT] "
    "[AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [IMG] <SPECIAL_20> [inst] [ INST ] [[INST]] </s></s> "
    "</s>[INST] <|im_end|> <think> </think> [THINK"
).split()
SPACES = ("", " ", "  ", "   \n", "\n\n", "\n", "\t", "\u00a0", "\r\n", " \n ")


@dataclass(frozen=True)
class Conversation:
    """What is rendered."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]


class Author:
    """Writes conversations that the templates of ``version`` can say."""

    def __init__(self, seed: int, version: int) -> None:
        self._random = random.Random(seed)
        self._version = version

    def conversation(self) -> Conversation:
        r = self._random
        messages: list[Message] = []
        while r.random() < 0.5 and len(messages) < 3:
            messages.append(Message("system", self._chunks(thinking=self._version >= 13)))
        if r.random() < 0.1:
            messages.append(self._answer())
        for _ in range(r.choice((0, 0, 1, 1, 2, 3, 5))):
            messages += self._asked()
            messages += self._answered()
        if not messages or messages[-1].role != "tool" or r.random() < 0.5:
            messages += self._asked()
        tools = [self._tool() for _ in range(r.choice((0, 0, 1, 2)))]
        return Conversation(tuple(messages), tuple(tools))

    def _asked(self) -> list[Message]:
        r = self._random
        asked = [Message("user", self._chunks()) for _ in range(r.choice((1, 1, 1, 2, 3)))]
        if r.random() < 0.1 and self._version >= 7:
            asked.insert(r.randrange(1, len(asked) + 1), Message("system", self._chunks()))
            asked.append(Message("user", self._chunks()))
        return asked

    def _answered(self) -> list[Message]:
        r = self._random
        made: list[Message] = []
        for _ in range(r.choice((0, 0, 1, 2))):
            calls = tuple(self._call() for _ in range(r.choice((1, 1, 2, 4))))
            chunks = self._said() if self._version >= 7 and r.random() < 0.5 else ()
            made.append(Message("assistant", chunks, calls))
            results = [
                Message("tool", self._chunks(self._json() if r.random() < 0.5 else None), (), c.id)
                for c in calls
            ]
            r.shuffle(results)
            made += results
        if not made or r.random() < 0.7:
            made += [self._answer() for _ in range(r.choice((1, 1, 1, 2)))]
        return made

    def _answer(self) -> Message:
        return Message("assistant", self._said())

    def _said(self) -> tuple[Chunk, ...]:
        r = self._random
        text = Chunk(self.text() or "x")
        if self._version < 13 or r.random() < 0.4:
            return (text,)
        thought = Chunk(self.text(), "thinking")
        return r.choice(((thought, text), (thought,), (text, thought, text), (thought, thought)))

    def _chunks(self, text: str | None = None, *, thinking: bool = False) -> tuple[Chunk, ...]:
        r = self._random
        if text is not None or r.random() < 0.6:
            return (Chunk(self.text() if text is None else text),)
        kinds = ("text", "thinking") if thinking else ("text",)
        return tuple(Chunk(self.text() or "y", r.choice(kinds)) for _ in range(r.choice((2, 3))))

    def text(self) -> str:
        """Words of any script, markers, and white space in odd places."""
        r = self._random
        parts = []
        for _ in range(r.choice((0, 1, 1, 2, 3, 6))):
            kind = r.random()
            if kind < 0.25:
                parts.append(r.choice(ADVERSARIAL))
            elif kind < 0.3:
                parts.append("".join(chr(self._point()) for _ in range(r.randrange(1, 8))))
            else:
                script = r.choice(list(SCRIPTS.values()))
                start = r.randrange(len(script))
                parts.append(script[start : start + r.randrange(1, 40)])
            parts.append(r.choice(SPACES))
        return "".join(parts)

    def _point(self) -> int:
        while True:
            point = self._random.choice(
                (self._random.randrange(0x3000), self._random.randrange(0x110000))
            )
            if not 0xD800 <= point < 0xE000:
                return point

    def _value(self, depth: int = 0) -> Any:
        r = self._random
        kind = r.randrange(8 if depth < 3 else 6)
        if kind == 6:
            return [self._value(depth + 1) for _ in range(r.randrange(4))]
        if kind == 7:
            return {self.text(): self._value(depth + 1) for _ in range(r.randrange(4))}
        return (None, True, r.randrange(-(10**20), 10**20), r.random() * 1e30, 1.0, self.text())[
            kind
        ]

    def _json(self) -> str:
        r = self._random
        value = self._value()
        written = json.dumps(value, ensure_ascii=r.random() < 0.5, indent=r.choice((None, 2)))
        return r.choice((written, written, written, f" {written} ", '"\\ud800x"', "NaN", "{"))

    def _call(self) -> ToolCall:
        r = self._random
        letters = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789"
        id = "".join(r.choices(letters, k=9))
        if self._version >= 13 and r.random() < 0.2:
            id = f"call {id} </s>"
        arguments = r.choice((json.dumps({"q": self.text()}), self._json(), "", "no JSON </s>"))
        return ToolCall(id, r.choice(("search", "look_up-2", "f")), arguments)

    def _tool(self) -> Tool:
        properties = {
            self.text() or "q": {"type": "string", "description": self.text()},
            "n": {"type": "integer", "default": self._random.choice((1, 2.5, None, [self.text()]))},
        }
        parameters = {"type": "object", "properties": properties, "required": ["n"]}
        return Tool("search", self.text(), json.dumps(parameters, ensure_ascii=False))


def request(conversation: Conversation) -> ChatCompletionRequest[Any]:
    """The same in mistral-common's words."""
    return ChatCompletionRequest(
        messages=[_message(message) for message in conversation.messages],
        tools=[
            MistralTool(
                function=Function(
                    name=tool.name,
                    description=tool.description,
                    parameters=json.loads(tool.parameters),
                )
            )
            for tool in conversation.tools
        ]
        or None,
    )


def _message(message: Message) -> Any:
    content = _content(message.chunks)
    if message.role == "system":
        return SystemMessage(content=content)
    if message.role == "user":
        return UserMessage(content=content)
    if message.role == "tool":
        return ToolMessage(content=content, tool_call_id=message.answers)
    calls = [
        MistralToolCall(id=call.id, function=FunctionCall(name=call.name, arguments=call.arguments))
        for call in message.calls
    ]
    return AssistantMessage(content=content or None, tool_calls=calls or None)


def _content(chunks: tuple[Chunk, ...]) -> Any:
    """Texts of one message are one text, as they are for us."""
    made: list[TextChunk | ThinkChunk] = []
    for chunk in chunks:
        if chunk.kind == "thinking":
            made.append(ThinkChunk(thinking=chunk.text, closed=True))
        elif made and isinstance(made[-1], TextChunk):
            made[-1] = TextChunk(text=made[-1].text + chunk.text)
        else:
            made.append(TextChunk(text=chunk.text))
    only_text = len(made) <= 1 and all(isinstance(chunk, TextChunk) for chunk in made)
    return (
        "".join(chunk.text for chunk in made if isinstance(chunk, TextChunk)) if only_text else made
    )
