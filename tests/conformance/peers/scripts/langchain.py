"""LangChain's classes for both dialects: everything that they do with a model."""

import asyncio
import json
import os

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_mistralai import ChatMistralAI, MistralAIEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

URL, KEY = os.environ["URL"], os.environ["KEY"]
MODELS = {
    "openai": ChatOpenAI(base_url=URL + "/v1", api_key=KEY, model="chat", stream_usage=True),
    "responses": ChatOpenAI(
        base_url=URL + "/v1", api_key=KEY, model="chat", use_responses_api=True
    ),
    "mistral": ChatMistralAI(endpoint=URL + "/mistral/v1", api_key=KEY, model="chat"),
}


class Town(BaseModel):
    """A town."""

    town: str


@tool
def weather(town: str) -> str:
    "The weather of a town."
    return "sunny"


@tool
def population(town: str) -> str:
    "How many live in a town."
    return "many"


TOOLS = [weather, population]


def called(model):
    """Both tools are called, answered, and their results are read."""
    messages = [HumanMessage("How is it there?")]
    first = model.bind_tools(TOOLS).invoke(messages)
    by_name = {one.name: one for one in TOOLS}
    results = [by_name[call["name"]].invoke(call) for call in first.tool_calls]
    answered = model.bind_tools(TOOLS).invoke([*messages, first, *results])
    return [(call["name"], call["args"]) for call in first.tool_calls], answered.text


def called_in_a_stream(model):
    whole = None
    for chunk in model.bind_tools(TOOLS).stream("How is it there?"):
        whole = chunk if whole is None else whole + chunk
    return [(call["name"], call["args"]) for call in whole.tool_calls]


async def later(model):
    said = await model.ainvoke("Hello")
    streamed = "".join([chunk.text async for chunk in model.astream("Hello")])
    many = await model.abatch(["One", "Two"])
    return said.text, streamed, [one.text for one in many]


def counted(model):
    whole = None
    for chunk in model.stream("Hello"):
        whole = chunk if whole is None else whole + chunk
    return whole.usage_metadata["output_tokens"]


def refused(kind, where, **more):
    try:
        kind(**{where: URL + ("/v1" if where == "base_url" else "/mistral/v1")}, **more).invoke("x")
    except Exception as problem:
        return type(problem).__name__


async def all_later():  # one loop: a client keeps its connections in one
    return {name: await later(model) for name, model in MODELS.items()}


LATER = asyncio.run(all_later())
told = {
    name: {
        "said": model.invoke("Hello").text,
        "streamed": "".join(chunk.text for chunk in model.stream("Hello")),
        "later": LATER[name],
        "called": called(model),
        "called in a stream": called_in_a_stream(model),
        "typed": model.with_structured_output(Town, method="json_schema").invoke("Where?").town,
        "counted": counted(model),
    }
    for name, model in MODELS.items()
}
told["vectors"] = [
    [len(one) for one in made.embed_documents(["a", "b"])]
    for made in (
        OpenAIEmbeddings(
            base_url=URL + "/v1", api_key=KEY, model="vectors", check_embedding_ctx_length=False
        ),
        MistralAIEmbeddings(endpoint=URL + "/mistral/v1/", api_key=KEY, model="vectors"),
    )
]
told["refused"] = [
    refused(ChatOpenAI, "base_url", api_key="cm_wrong", model="chat"),
    refused(ChatOpenAI, "base_url", api_key=KEY, model="none"),
    refused(ChatMistralAI, "endpoint", api_key="cm_wrong", model="chat", max_retries=1),
]
print(json.dumps(told))
