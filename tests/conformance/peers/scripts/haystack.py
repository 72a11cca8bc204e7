"""Haystack's components for both dialects."""

import asyncio
import json
import os

from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import Tool
from haystack.utils import Secret
from haystack_integrations.components.embedders.mistral import MistralTextEmbedder
from haystack_integrations.components.generators.mistral import MistralChatGenerator

URL, KEY = os.environ["URL"], Secret.from_token(os.environ["KEY"])
TOWN = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
TOOL = Tool("weather", "The weather of a town.", TOWN, lambda town: "sunny")
MODELS = {
    "openai": OpenAIChatGenerator(api_base_url=URL + "/v1", api_key=KEY, model="chat"),
    "responses": OpenAIResponsesChatGenerator(api_base_url=URL + "/v1", api_key=KEY, model="chat"),
    # It reads thinking of whole answers alone.
    "mistral": MistralChatGenerator(
        api_base_url=URL + "/mistral/v1",
        api_key=KEY,
        model="chat",
        generation_kwargs={"reasoning_effort": "none"},
    ),
}
HELLO = [ChatMessage.from_user("Hello")]


def streamed(model):
    told = []
    said = model.run(HELLO, streaming_callback=lambda chunk: told.append(chunk.content or ""))
    return "".join(told), said["replies"][0].text


def called(model):
    first = model.run(HELLO, tools=[TOOL])["replies"][0]
    (call,) = first.tool_calls
    result = ChatMessage.from_tool("sunny", origin=call)
    return call.arguments, model.run([*HELLO, first, result], tools=[TOOL])["replies"][0].text


told = {
    name: {
        "said": model.run(HELLO)["replies"][0].text,
        "later": asyncio.run(model.run_async(HELLO))["replies"][0].text,
        "streamed": streamed(model),
        "called": called(model),
    }
    for name, model in MODELS.items()
}
of_openai = {"api_base_url": URL + "/v1", "api_key": KEY, "model": "vectors"}
documents = OpenAIDocumentEmbedder(progress_bar=False, **of_openai).run(
    [Document(content="a"), Document(content="b")]
)["documents"]
of_mistral = MistralTextEmbedder(api_base_url=URL + "/mistral/v1", api_key=KEY, model="vectors")
told["vectors"] = [
    len(OpenAITextEmbedder(**of_openai).run("a")["embedding"]),
    *(len(one.embedding) for one in documents),
    len(of_mistral.run("a")["embedding"]),
]
print(json.dumps(told))
