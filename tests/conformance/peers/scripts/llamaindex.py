"""LlamaIndex's classes for both dialects."""

import asyncio
import json
import os

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

URL, KEY = os.environ["URL"], os.environ["KEY"]
HELLO = [ChatMessage(role="user", content="Hello")]
MODELS = {
    "openai": OpenAILike(
        api_base=URL + "/v1",
        api_key=KEY,
        model="chat",
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
    ),
    # It reads thinking of models with certain names alone.
    "mistral": MistralAI(
        endpoint=URL + "/mistral",
        api_key=KEY,
        model="mistral-small-latest",
        additional_kwargs={"reasoning_effort": "none"},
    ),
}


class Town(BaseModel):
    """A town."""

    town: str


def weather(town: str) -> str:
    "The weather of a town."
    return "sunny"


TOOL = FunctionTool.from_defaults(weather)


async def later(model):
    streamed = [part.delta or "" async for part in await model.astream_chat(HELLO)]
    return (await model.achat(HELLO)).message.content, "".join(streamed)


def called(model):
    first = model.chat_with_tools([TOOL], chat_history=HELLO)
    (call,) = model.get_tool_calls_from_response(first)
    result = ChatMessage(
        role="tool", content="sunny", additional_kwargs={"tool_call_id": call.tool_id,
                                                         "name": "weather"},
    )  # fmt: skip
    second = model.chat_with_tools([TOOL], chat_history=[*HELLO, first.message, result])
    return call.tool_kwargs, second.message.content


async def all_later():  # one loop: a client keeps its connections in one
    return {name: await later(model) for name, model in MODELS.items()}


LATER = asyncio.run(all_later())
told = {
    name: {
        "said": model.chat(HELLO).message.content,
        "completed": model.complete("Hello").text,
        "streamed": "".join(part.delta or "" for part in model.stream_chat(HELLO)),
        "later": LATER[name],
        "called": called(model),
    }
    for name, model in MODELS.items()
}
told["typed"] = MODELS["openai"].as_structured_llm(Town).chat(HELLO).raw.town
embed = OpenAILikeEmbedding(api_base=URL + "/v1", api_key=KEY, model_name="vectors")
told["vectors"] = [len(one) for one in embed.get_text_embedding_batch(["a", "b"])]
print(json.dumps(told))
