"""Clients that others wrote, as the page about them says, and a little further.

They live in an environment of their own, with what requirements/peers.txt pins: their needs and
ours have nothing to do with each other. It is made where REQUIRE_CLIENTS=1 asks for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
VENV = Path(os.environ.get("PEERS_VENV", ROOT / ".venv-peers"))
PAGE = ROOT / "docs" / "how-to" / "other-clients.md"
ADDRESS = "http://127.0.0.1:8470"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
BLOCKS = [(kind, text) for kind, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))]
SETTINGS = [text for kind, text in BLOCKS if kind == "yaml" and "model_id" not in text]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]


def name_of(text: str) -> str:
    imported = [line for line in text.splitlines() if re.match(r"(from|import) (?!os)", line)]
    return imported[-1].split()[1]


@pytest.fixture(scope="session")
def peers() -> Path:
    """The environment's folder of programs."""
    python = VENV / "bin" / "python"
    pins = ROOT / "requirements" / "peers.txt"
    made = VENV / "made"  # of which pins; written last
    if not made.exists() or made.read_bytes() != pins.read_bytes():
        if os.environ.get("REQUIRE_CLIENTS") != "1":
            pytest.skip("needs others' clients: REQUIRE_CLIENTS=1 installs requirements/peers.txt")
        shutil.rmtree(VENV, ignore_errors=True)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "--quiet", "--no-project", VENV], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", python]
        else:
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "--require-hashes", "-r", pins], check=True)
        made.write_bytes(pins.read_bytes())
    return VENV / "bin"


@pytest.fixture
def ran(peers, dialects, tmp_path):
    """Runs a script, or a program of the environment; what it prints."""

    def run(*command: str, script: str = "") -> str:
        environment = {
            "PATH": f"{peers}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "KEY": dialects.key,
            "URL": dialects.url,
            # Nothing of this may look for somebody far away.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HAYSTACK_TELEMETRY_ENABLED": "False",
            "DO_NOT_TRACK": "1",
            "LLM_USER_PATH": str(tmp_path),
        }
        told = subprocess.run(
            command or (str(peers / "python"), "-c", script),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert told.returncode == 0, told.stderr[-4000:]
        return told.stdout

    return run


@pytest.mark.parametrize("text", PYTHON, ids=name_of)
def test_the_lines_of_the_page_ask_documents(ran, dialects, text):
    assert "12 euros" in ran(script=text.replace(ADDRESS, dialects.url))


def test_the_command_llm_asks_documents(ran, peers, dialects, tmp_path):
    (text,) = [text for kind, text in BLOCKS if kind == "yaml" and "model_id" in text]
    (tmp_path / "extra-openai-models.yaml").write_text(text.replace(ADDRESS, dialects.url))
    ran(str(peers / "llm"), "keys", "set", "casemate", "--value", dialects.key)
    said = ran(str(peers / "llm"), "-m", "casemate", "--no-stream", "What is the fee?")
    assert "12 euros" in said
    assert said == ran(str(peers / "llm"), "-m", "casemate", "What is the fee?")


def test_the_settings_of_programs_name_addresses_and_models_that_are_there(dialects):
    """Of those that are not run here: they are read as these programs read them, and followed."""
    named = [
        (model["apiBase"], model["model"])
        for settings in map(yaml.safe_load, SETTINGS)
        for model in settings.get("models", ())
    ] + [
        (endpoint["baseURL"], model)
        for settings in map(yaml.safe_load, SETTINGS)
        for endpoint in settings.get("endpoints", {}).get("custom", ())
        for model in endpoint["models"]["default"]
    ]
    assert len(named) == 3
    for address, model in named:
        url = f"{address.replace(ADDRESS, dialects.url).rstrip('/')}/models/{model}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {dialects.key}"})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["id"] == model


def test_curl_asks_documents(dialects):
    if shutil.which("curl") is None:
        if os.environ.get("REQUIRE_CLIENTS") == "1":
            pytest.fail("curl is missing: apt-get install curl")
        pytest.skip("needs curl")
    (text,) = [text for kind, text in BLOCKS if kind == "sh"]
    told = subprocess.run(
        ["sh", "-c", text.replace(ADDRESS, dialects.url)],
        env={**os.environ, "KEY": dialects.key},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "12 euros" in json.loads(told.stdout)["choices"][0]["message"]["content"]


LANGCHAIN = """
import json, os
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from {package} import {name}

@tool
def weather(town: str) -> str:
    "The weather of a town."
    return "sunny"

model = {name}({where}="{url}", api_key=os.environ["KEY"], model="chat")
messages = [HumanMessage("How is the weather?")]
called = model.bind_tools([weather]).invoke(messages)
(call,) = called.tool_calls
messages += [called, weather.invoke(call)]
answered = model.bind_tools([weather]).invoke(messages)
streamed = "".join(chunk.text for chunk in model.stream("Hello"))
schema = {{"title": "Town", "type": "object", "properties": {{"town": {{"type": "string"}}}}}}
print(json.dumps({{
    "call": call["args"],
    "answer": answered.text,
    "stream": streamed,
    "usage": answered.usage_metadata["output_tokens"],
}}))
"""


@pytest.mark.parametrize(
    ("package", "name", "where", "below"),
    [
        ("langchain_openai", "ChatOpenAI", "base_url", "/v1"),
        ("langchain_mistralai", "ChatMistralAI", "endpoint", "/mistral/v1"),
    ],
)
def test_langchain_calls_tools_and_streams(ran, dialects, package, name, where, below):
    url = dialects.url + below
    script = LANGCHAIN.format(package=package, name=name, where=where, url=url)
    told = json.loads(ran(script=script))
    assert told["call"] == {"town": "Esch"}
    assert told["answer"] == "The tool says: sunny."
    assert told["stream"] == "You asked: Hello One. Two. Three."
    assert told["usage"] > 0


EMBEDDINGS = """
import json, os
from langchain_openai import OpenAIEmbeddings
from langchain_mistralai import MistralAIEmbeddings
url, key = os.environ["URL"], os.environ["KEY"]
first = OpenAIEmbeddings(
    base_url=url + "/v1", api_key=key, model="vectors", check_embedding_ctx_length=False
)
print(json.dumps([len(one) for one in first.embed_documents(["a", "b"])]))
"""


def test_langchain_embeds_texts(ran):
    assert json.loads(ran(script=EMBEDDINGS)) == [8, 8]


LITELLM = """
import asyncio, json, os
import litellm
common = {"api_base": os.environ["URL"] + "/v1", "api_key": os.environ["KEY"]}
hello = [{"role": "user", "content": "Hello"}]
tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
        "properties": {"town": {"type": "string"}}}}}
called = litellm.completion(model="openai/chat", messages=hello, tools=[tool], **common)
stream = litellm.completion(model="openai/chat", messages=hello, stream=True, **common)
text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
thought = litellm.completion(model="openai/chat", messages=hello, **common)
async def later():
    return await litellm.acompletion(model="openai/chat", messages=hello, **common)
vectors = litellm.embedding(model="openai/vectors", input=["a"], **common)
errors = []
for model, key in (("openai/none", os.environ["KEY"]), ("openai/chat", "cm_wrong")):
    try:
        litellm.completion(model=model, messages=hello, api_base=common["api_base"], api_key=key)
    except Exception as problem:
        errors.append(type(problem).__name__)
print(json.dumps({
    "call": json.loads(called.choices[0].message.tool_calls[0].function.arguments),
    "stream": text,
    "thinking": thought.choices[0].message.reasoning_content,
    "later": asyncio.run(later()).choices[0].message.content,
    "vector": len(vectors.data[0]["embedding"]),
    "errors": errors,
}))
"""


def test_litellm_reads_thinking_tools_streams_vectors_and_errors(ran):
    told = json.loads(ran(script=LITELLM).splitlines()[-1])
    assert told == {
        "call": {"town": "Esch"},
        "stream": "You asked: Hello One. Two. Three.",
        "thinking": "Let me see.",
        "later": "You asked: Hello One. Two. Three.",
        "vector": 8,
        "errors": ["NotFoundError", "AuthenticationError"],
    }


LLAMAINDEX = """
import json, os
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai_like import OpenAILike
url, key = os.environ["URL"], os.environ["KEY"]
hello = [ChatMessage(role="user", content="Hello")]
openai = OpenAILike(api_base=url + "/v1", api_key=key, model="chat", is_chat_model=True,
                    is_function_calling_model=True)
mistral = MistralAI(endpoint=url + "/mistral", api_key=key, model="mistral-small-latest")
def weather(town: str) -> str:
    "The weather of a town."
    return "sunny"
calls = openai.get_tool_calls_from_response(
    openai.chat_with_tools([FunctionTool.from_defaults(weather)], user_msg="How is the weather?")
)
embed = OpenAILikeEmbedding(api_base=url + "/v1", api_key=key, model_name="vectors")
print(json.dumps({
    "streams": ["".join(part.delta or "" for part in one.stream_chat(hello))
                for one in (openai, mistral)],
    "call": calls[0].tool_kwargs,
    "vector": len(embed.get_text_embedding("a")),
}))
"""


def test_llamaindex_streams_calls_tools_and_embeds(ran):
    told = json.loads(ran(script=LLAMAINDEX))
    assert all("You asked: Hello One. Two. Three." in one for one in told["streams"])
    assert told["call"] == {"town": "Esch"}
    assert told["vector"] == 8
