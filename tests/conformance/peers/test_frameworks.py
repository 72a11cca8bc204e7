"""LangChain, LlamaIndex, Haystack and LiteLLM, in both dialects: all that they do with a model.

What each is told to do stands in ``scripts/``; it runs in the environment of that client.
"""

from __future__ import annotations

import json
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
