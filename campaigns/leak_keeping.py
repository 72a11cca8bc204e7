"""Surfaces of the leak campaign where people keep things: files, batches, conversations, agents.

What somebody keeps is theirs alone, whatever its label.
"""

from __future__ import annotations

import json
from typing import Any

from leak_asker import Asker, Thing
from leak_http import Came
from leak_reading import noted
from leak_world import Mine, Person, a_secret

_AT = {
    "file": ("files", "/v1/files/{}", ("", "/content")),
    "mistral file": ("files", "/mistral/v1/files/{}", ("", "/content")),
    "batch": ("batches", "/v1/batches/{}", ("",)),
    "job": ("batches", "/mistral/v1/batch/jobs/{}", ("",)),
    "response": ("responses", "/v1/responses/{}", ("", "/input_items")),
    "conversation": (
        "conversations", "/mistral/v1/conversations/{}", ("", "/history", "/messages")),
    "agent": ("kept", "/mistral/v1/agents/{}", ("",)),
}  # fmt: skip


async def kept(ask: Asker, person: Person) -> None:
    """Look at what somebody keeps, oneself or another."""
    kind = ask.dice.choice(list(_AT))
    thing = ask.thing(kind, person)
    if thing is None:
        return
    surface, path, tails = _AT[kind]
    tail = ask.dice.choice(tails)
    came = await ask.http(surface, person, "GET", path.format(thing.id) + tail)
    _theirs(ask, person, thing, came)
    if surface == "batches" and came.status == 200:
        for name in ("output_file_id", "error_file_id", "output_file", "error_file"):
            if isinstance(made := json.loads(came.body).get(name), str):
                ask.stage.add("file", made, person)


async def lists(ask: Asker, person: Person) -> None:
    """Lists of what one keeps."""
    surface, path = ask.dice.choice(
        (
            *(("files", "/v1/files"), ("files", "/mistral/v1/files")),
            *(("batches", "/v1/batches"), ("batches", "/mistral/v1/batch/jobs")),
            ("conversations", "/mistral/v1/conversations"),
            ("kept", "/mistral/v1/agents"),
        )
    )
    await ask.http(surface, person, "GET", path)


async def upload(ask: Asker, person: Person) -> None:
    """Keep a file that holds secrets of one's own."""
    secret, name = (ask.world.keep(a_secret(ask.dice, "kf"), Mine(person.id)) for _ in range(2))
    kind, path = ask.dice.choice((("file", "/v1/files"), ("mistral file", "/mistral/v1/files")))
    lines = "".join(
        json.dumps(
            {
                "custom_id": f"{number}-{secret}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": ask.use_case(person),
                    "messages": [{"role": "user", "content": ask.question()}],
                },
            }
        )
        + "\n"
        for number in range(2)
    )
    came = await _send_file(ask, person, path, f"{name}.jsonl", "batch", lines.encode())
    if (id := _id(came)) is None:
        return
    ask.stage.add(kind, id, person)
    if kind == "file" and ask.dice.random() < 0.5:
        body = {
            "input_file_id": id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"about": secret},
        }
        _note(ask, "batch", person, await ask.http("batches", person, "POST", "/v1/batches", body))
    elif ask.dice.random() < 0.5:
        jobs: dict[str, Any] = {
            "input_files": [id],
            "endpoint": "/v1/chat/completions",
            "model": ask.use_case(person),
        }
        came = await ask.http("batches", person, "POST", "/mistral/v1/batch/jobs", jobs)
        _note(ask, "job", person, came)


async def read_file(ask: Asker, person: Person) -> None:
    """Read a file page by page, also another's, or a document that is hidden."""
    paper = ask.hidden_paper(person)
    thing = ask.thing("file", person)
    id = thing.id if thing and ask.dice.random() < 0.5 else paper.id if paper else "file_x"
    body = {"model": "casemate-reader", "document": {"type": "file", "file_id": id}}
    came = await ask.http("files", person, "POST", "/mistral/v1/ocr", body)
    if thing and id == thing.id:
        _theirs(ask, person, thing, came)


async def respond(ask: Asker, person: Person) -> None:
    """Responses, going on from one's own or another's."""
    body: dict[str, Any] = {"model": ask.use_case(person), "input": ask.question()}
    before = ask.thing("response", person)
    if before is not None and ask.dice.random() < 0.5:
        body["previous_response_id"] = before.id
    body["stream"] = ask.dice.random() < 0.3
    surface, path = ask.dice.choice(
        (("responses", "/v1/responses"), ("responses", "/mistral/v1/responses"))
    )
    came = await ask.http(surface, person, "POST", path, body)
    noted(ask, person, came)
    if "previous_response_id" in body and before is not None:
        _theirs(ask, person, before, came)
    _note(ask, "response", person, came)


async def converse(ask: Asker, person: Person) -> None:
    """Conversations and agents, one's own and others'."""
    use = ask.use_case(person)
    before, agent = ask.thing("conversation", person), ask.thing("agent", person)
    at, choice = "/mistral/v1/conversations", ask.dice.random()
    if before is not None and choice < 0.4:
        path = f"{at}/{before.id}" + ask.dice.choice(("", "/restart"))
        body: dict[str, Any] = {"inputs": ask.question()}
        if path.endswith("/restart"):
            body["from_entry_id"] = "x"
        came = await ask.http("conversations", person, "POST", path, body)
        _theirs(ask, person, before, came)
    elif agent is not None and choice < 0.6:
        body = {"agent_id": agent.id, "inputs": ask.question()}
        path = at
        if ask.dice.random() < 0.5:
            body = {
                "agent_id": agent.id,
                "messages": [{"role": "user", "content": ask.question()}],
            }
            path = "/mistral/v1/agents/completions"
        came = await ask.http("conversations", person, "POST", path, body)
        _theirs(ask, person, agent, came)
    elif choice < 0.7:
        secret = ask.world.keep(a_secret(ask.dice, "kf"), Mine(person.id))
        body = {"model": use, "name": secret, "instructions": f"Answer with {secret}."}
        came = await ask.http("kept", person, "POST", "/mistral/v1/agents", body)
        return _note(ask, "agent", person, came)
    else:
        body = {"model": use, "inputs": ask.question(), "stream": ask.dice.random() < 0.2}
        came = await ask.http("conversations", person, "POST", at, body)
        if not body["stream"] and came.status == 200:
            id = json.loads(came.body).get("conversation_id")
            ask.stage.add("conversation", id, person)
    noted(ask, person, came)


def _theirs(ask: Asker, person: Person, thing: Thing, came: Came) -> None:
    if came.status < 400 and thing.of is not person:
        ask.find(f"kept: {person.name} reached the {thing.kind} {thing.id} of somebody else")


def _note(ask: Asker, kind: str, person: Person, came: Came) -> None:
    if (id := _id(came)) is not None:
        ask.stage.add(kind, id, person)


def _id(came: Came) -> str | None:
    try:
        return str(json.loads(came.body)["id"]) if came.status < 400 else None
    except (ValueError, KeyError):
        return None


async def _send_file(
    ask: Asker, person: Person, path: str, name: str, purpose: str, content: bytes
) -> Came:
    edge = "edge-of-a-part"
    head = (
        f'--{edge}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
        f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
        "content-type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={edge}"}
    return await ask.http("files", person, "POST", path, body, headers=headers)


SURFACES = (kept, kept, lists, upload, read_file, respond, converse)
