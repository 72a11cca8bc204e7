"""LangChain, LlamaIndex, Haystack, LiteLLM, the packages for JavaScript: all they do with a model.

In both dialects. What each is told to do stands in ``scripts/``; it runs in the environment of that
client.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
SAID = "You asked: Hello One. Two. Three."
ESCH = {"town": "Esch"}
BOTH = [["weather", ESCH], ["population", ESCH]]


@pytest.fixture
def told(ran):
    def tell(name: str):
        return json.loads(ran(script=(SCRIPTS / f"{name}.py").read_text()).splitlines()[-1])

    return tell


def test_langchain_asks_streams_calls_tools_and_embeds(told):
    told = told("langchain")
    for name in ("openai", "responses", "mistral"):
        assert told[name] == {
            "said": SAID,
            "streamed": SAID,
            "later": [
                SAID,
                SAID,
                ["You asked: One One. Two. Three.", "You asked: Two One. Two. Three."],
            ],
            "called": [BOTH, "The tool says: many."],
            "called in a stream": BOTH,
            "typed": "Fictionalville",
            "counted": 6,
        }
    assert told["vectors"] == [[8, 8], [8, 8]]
    assert told["refused"] == [
        "OpenAIAuthenticationError",
        "OpenAIModelNotFoundError",
        "HTTPStatusError",
    ]


def test_haystack_asks_streams_calls_tools_and_embeds(told):
    told = told("haystack")
    for name in ("openai", "responses", "mistral"):
        assert told[name] == {
            "said": SAID,
            "later": SAID,
            "streamed": [SAID, SAID],
            "called": [ESCH, "The tool says: sunny."],
        }
    assert told["vectors"] == [8, 8, 8, 8]


def test_llamaindex_asks_streams_calls_tools_and_embeds(told):
    told = told("llamaindex")
    for name in ("openai", "mistral"):
        assert told[name] == {
            "said": SAID,
            "completed": SAID,
            "streamed": SAID,
            "later": [SAID, SAID],
            "called": [ESCH, "The tool says: sunny."],
        }
    assert told["typed"] == "Fictionalville"
    assert told["vectors"] == [8, 8]


def test_litellm_asks_streams_calls_tools_embeds_and_knows_what_is_refused(told):
    told = told("litellm")
    for name in ("openai", "mistral"):
        assert told[name] == {
            "said": SAID,
            "thought": "Let me see.",
            "counted": 6,
            "streamed": SAID,
            "later": [SAID, SAID],
            "called": BOTH,
            "called in a stream": BOTH,
            "typed": "Fictionalville",
            "vector": 8,
            "refused": ["NotFoundError", "AuthenticationError", "BadRequestError"],
        }
    assert told["response"] == SAID
    assert told["continued"] == "You asked: A One. Two. Three."


def test_what_runs_tools_by_itself_comes_to_its_end_and_goes_on(told):
    told = told("agents")
    said = "The tool says: sunny in Esch."
    assert told["mistral"] == {
        "said": said,
        "entries": ["function.call", "function.result", "message.output"],
        "typed": "Fictionalville",
        "called": True,
        "last": "result",
    }
    for name in ("responses", "chat"):
        assert told["openai"][name] == [said, said, said, "Fictionalville"]
    assert told["openai"]["sessions"] == [said] * 4
    assert told["openai"]["previous"] == said
    assert set(told["pydantic"]) == {"chat", "responses", "mistral"}
    for answers in told["pydantic"].values():
        assert answers == [said] * 3


def test_the_packages_for_javascript_ask_stream_call_tools_and_read_what_comes(
    javascript, dialects
):
    script = shutil.copy(SCRIPTS / "javascript.mjs", javascript)
    ran = subprocess.run(
        ["node", script],
        env={"PATH": os.environ["PATH"], "URL": dialects.url, "KEY": dialects.key},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    told = json.loads(line)
    assert told["openai"] == {
        "said": "The fee is 12 euros for adults. [1]",
        "called": BOTH,
        "responded": SAID,
        "vector": 8,
        "content": "x",
        "refused": "NotFoundError",
    }
    assert told["mistral"] == {
        "said": "The fee is 12 euros for adults. [1]",
        "references": True,
        "called": BOTH,
        "talked": SAID,
        "last": "conversation.response.done",
        "entries": ["message.input", "message.output"] * 2,
        "filled": "<1 + | = 3>",
        "vector": 8,
        "file": "a.txt",
    }
    assert set(told["aisdk"]) == {"responses", "chat", "compatible", "mistral"}
    for asked in told["aisdk"].values():
        assert asked == {
            "said": SAID,
            "streamed": SAID,
            "typed": "Fictionalville",
            "called": [["weather", ESCH]],
            "counted": 6,
            "looped": "The tool says: sunny.",
            "more": "You asked: More One. Two. Three.",
        }
