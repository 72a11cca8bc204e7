"""What runs tools by itself: Mistral's runs, OpenAI's agents with sessions, and Pydantic AI."""

import asyncio
import json
import os

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from mistralai.client import Mistral
from mistralai.extra.run.context import RunContext
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.mistral import MistralModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.openai import OpenAIResponsesModel as PydanticResponses
from pydantic_ai.providers.mistral import MistralProvider
from pydantic_ai.providers.openai import OpenAIProvider

URL, KEY = os.environ["URL"], os.environ["KEY"]
set_tracing_disabled(True)


class Town(BaseModel):
    """A town."""

    town: str


def weather(town: str) -> str:
    """The weather of a town.

    Args:
        town: its name
    """
    return f"sunny in {town}"


async def of_mistral(client):
    async with RunContext(model="chat") as run:
        run.register_func(weather)
        said = await client.beta.conversations.run_async(run_ctx=run, inputs="Hello")
    async with RunContext(model="chat", output_format=Town) as run:
        typed = await client.beta.conversations.run_async(run_ctx=run, inputs="Hello")
    agent = await client.beta.agents.create_async(model="chat", name="Clerk")
    async with RunContext(agent_id=agent.id) as run:
        run.register_func(weather)
        events = await client.beta.conversations.run_stream_async(run_ctx=run, inputs="Hello")
        kinds = [getattr(event, "event", "result") async for event in events]
    return {
        "said": said.output_as_text,
        "entries": [entry.type for entry in said.output_entries],
        "typed": typed.output_as_model.town,
        "called": "function.result" in kinds,
        "last": kinds[-1],
    }


async def of_openai(client):
    told = {}
    for name, kind in (("responses", OpenAIResponsesModel), ("chat", OpenAIChatCompletionsModel)):
        model = kind(model="chat", openai_client=client)
        agent = Agent(name="Clerk", tools=[function_tool(weather)], model=model)
        first = await Runner.run(agent, "Hello")
        second = await Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "?"}])
        streamed = Runner.run_streamed(agent, "Hello")
        async for _ in streamed.stream_events():
            pass
        typed = await Runner.run(Agent(name="Clerk", output_type=Town, model=model), "Hello")
        told[name] = [
            first.final_output,
            second.final_output,
            streamed.final_output,
            typed.final_output.town,
        ]
    model = OpenAIResponsesModel(model="chat", openai_client=client)
    agent = Agent(name="Clerk", tools=[function_tool(weather)], model=model)
    sessions = OpenAIConversationsSession(openai_client=client), SQLiteSession("one")
    told["sessions"] = [
        (await Runner.run(agent, question, session=session)).final_output
        for session in sessions
        for question in ("Hello", "More")
    ]
    first = await Runner.run(agent, "Hello")
    after = await Runner.run(agent, "More", previous_response_id=first.last_response_id)
    told["previous"] = after.final_output
    return told


async def of_pydantic(openai, mistral):
    provider = OpenAIProvider(openai_client=openai)
    told = {}
    for name, model in {
        "chat": OpenAIChatModel("chat", provider=provider),
        "responses": PydanticResponses("chat", provider=provider),
        "mistral": MistralModel("chat", provider=MistralProvider(mistral_client=mistral)),
    }.items():
        agent = PydanticAgent(model, tools=[weather])
        first = await agent.run("Hello")
        second = await agent.run("More", message_history=first.all_messages())
        async with agent.run_stream("Hello") as stream:
            streamed = [text async for text in stream.stream_text()][-1]
        told[name] = [first.output, second.output, streamed]
    return told


async def main():
    async with (
        Mistral(server_url=URL + "/mistral", api_key=KEY) as mistral,
        AsyncOpenAI(base_url=URL + "/v1", api_key=KEY) as openai,
    ):
        told = {
            "mistral": await of_mistral(mistral),
            "openai": await of_openai(openai),
            "pydantic": await of_pydantic(openai, mistral),
        }
    print(json.dumps(told))


asyncio.run(main())
