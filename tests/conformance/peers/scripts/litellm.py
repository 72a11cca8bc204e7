"""LiteLLM as a client, of both dialects."""

import asyncio
import json
import os

import litellm

URL, KEY = os.environ["URL"], os.environ["KEY"]
DIALECTS = {
    "openai": {"api_base": URL + "/v1", "api_key": KEY},
    "mistral": {"api_base": URL + "/mistral/v1", "api_key": KEY},
}
HELLO = [{"role": "user", "content": "Hello"}]
TOWN = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": TOWN}}
    for name in ("weather", "population")
]


def called(dialect, where, **more):
    return [
        (call.function.name, json.loads(call.function.arguments))
        for call in litellm.completion(
            model=f"{dialect}/chat", messages=HELLO, tools=TOOLS, **where, **more
        )
        .choices[0]
        .message.tool_calls
    ]


def called_in_a_stream(dialect, where):
    chunks = list(
        litellm.completion(
            model=f"{dialect}/chat", messages=HELLO, tools=TOOLS, stream=True, **where
        )
    )
    whole = litellm.stream_chunk_builder(chunks, messages=HELLO)
    return [
        (call.function.name, json.loads(call.function.arguments))
        for call in whole.choices[0].message.tool_calls
    ]


async def later(dialect, where):
    said = await litellm.acompletion(model=f"{dialect}/chat", messages=HELLO, **where)
    stream = await litellm.acompletion(
        model=f"{dialect}/chat", messages=HELLO, stream=True, **where
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    return said.choices[0].message.content, text


def refused(model, where, **more):
    try:
        litellm.completion(model=model, messages=HELLO, **where, **more)
    except Exception as problem:
        return type(problem).__name__


told = {}
for dialect, where in DIALECTS.items():
    of_chat = {"model": f"{dialect}/chat", "messages": HELLO, **where}
    said = litellm.completion(**of_chat)
    typed = litellm.completion(
        response_format={"type": "json_schema", "json_schema": {"name": "town", "schema": TOWN}},
        **of_chat,
    )
    told[dialect] = {
        "said": said.choices[0].message.content,
        "thought": said.choices[0].message.reasoning_content,
        "counted": said.usage.completion_tokens,
        "streamed": "".join(
            chunk.choices[0].delta.content or ""
            for chunk in litellm.completion(stream=True, **of_chat)
        ),
        "later": asyncio.run(later(dialect, where)),
        "called": called(dialect, where),
        "called in a stream": called_in_a_stream(dialect, where),
        "typed": json.loads(typed.choices[0].message.content)["town"],
        "vector": len(
            litellm.embedding(model=f"{dialect}/vectors", input=["a"], **where).data[0]["embedding"]
        ),
        "refused": [
            refused(f"{dialect}/none", where),
            refused(f"{dialect}/chat", {**where, "api_key": "cm_wrong"}),
            refused(f"{dialect}/documents", where, tools=TOOLS),
        ],
    }
where = DIALECTS["openai"]
response = litellm.responses(model="openai/chat", input="Hello", **where)
continued = litellm.text_completion(model="text-completion-openai/chat", prompt="A", **where)
told["response"] = response.output[-1].content[0].text
told["continued"] = continued.choices[0].text
print(json.dumps(told))
