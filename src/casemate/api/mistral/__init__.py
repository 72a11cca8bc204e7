"""Mistral's dialect at ``/mistral/v1``: its own clients ask documents by choosing a model id.

Shapes: those of the classes of Mistral's Python package, mistralai 3.7.0.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from casemate.api import openapi
from casemate.api.body import upload_limit
from casemate.api.errors import MistralError
from casemate.api.mistral import (
    agents,
    batches,
    chat,
    conversations,
    embeddings,
    files,
    fim,
    libraries,
    library,
    models,
    ocr,
    talking,
)
from casemate.api.mistral.elsewhere import NOT_OFFERED
from casemate.api.mistral.request import ChatRequest
from casemate.api.mistral.response import Completion
from casemate.api.openai import responses
from casemate.api.openai.given import ResponseRequest
from casemate.api.openai.responded import ResponseShape
from casemate.api.resource import Act, Face, Operation, Query, json_response

__all__ = ["NOT_OFFERED", "OPERATIONS", "PREFIX"]

PREFIX = "/mistral"
_V1 = "/mistral/v1"
_LIBRARIES = _V1 + "/libraries"
_DOCUMENTS = _LIBRARIES + "/{library}/documents"
_DOCUMENT = _DOCUMENTS + "/{document}"
_AGENT = _V1 + "/agents/{id}"
_CONVERSATION = _V1 + "/conversations/{id}"
_JOBS = _V1 + "/batch/jobs"


async def describe(face: Face, request: Request) -> Response:
    """This dialect as OpenAPI."""
    title = "Casemate: Mistral's dialect"
    return json_response(openapi.document(OPERATIONS, MistralError, title, (422,)))


_STREAM = ("application/json", "text/event-stream")
_FORM = ("multipart/form-data",)
_PAGE = (
    Query("page", "Number of the page, from 0.", int | None),
    Query("page_size", "How many entries a page has.", int | None),
)
_TOKENS = (
    Query("page_token", "The next_page_token of the page before."),
    Query("page_size", "How many entries a page has.", int | None),
)
_NAMED = (
    Query("id", "Only the one with this id."),
    Query("name", "Only those with this name."),
    Query("search", "Only those with this in their name or id."),
)
_METADATA = Query("metadata", "Only those whose metadata hold this, a JSON object.")
_OF_JOBS = (
    Query("model", "Only those of this model."),
    Query("agent_id", "Only those of this agent."),
    Query("status", "Only those in one of these states.", list[str]),
    Query("created_after", "Only those made after this moment, ISO 8601."),
    Query("order_by", "created or -created: which comes first."),
)


def _talk(path: str, act: Act) -> Operation:
    """One of the ways to go on in a conversation."""
    return Operation(
        "POST",
        path,
        act,
        body=talking.ConversationRequest,
        answers=talking.ConversationAnswer,
        media=_STREAM,
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", _V1 + "/openapi.json", describe),
    Operation("GET", _V1 + "/models", models.list_models, answers=models.ModelList),
    Operation("GET", _V1 + "/models/{id:path}", models.model, answers=models.ModelCard),
    Operation(
        "POST",
        _V1 + "/chat/completions",
        chat.completions,
        body=ChatRequest,
        answers=Completion,
        media=_STREAM,
    ),
    Operation(
        "POST",
        _V1 + "/agents/completions",
        agents.completions,
        body=ChatRequest,
        answers=Completion,
        media=_STREAM,
    ),
    Operation(
        "POST",
        _V1 + "/fim/completions",
        fim.completions,
        body=fim.FillRequest,
        answers=Completion,
        media=_STREAM,
    ),
    Operation(
        "GET",
        _V1 + "/agents",
        agents.agents,
        answers=list[agents.AgentShape],
        query=(*_PAGE, *_NAMED, _METADATA),
    ),
    Operation(
        "GET",
        _V1 + "/agents/pages",
        agents.pages,
        answers=agents.AgentPage,
        query=(*_TOKENS, *_NAMED, _METADATA),
    ),
    Operation(
        "POST", _V1 + "/agents", agents.create, body=agents.NewAgent, answers=agents.AgentShape
    ),
    Operation("GET", _AGENT, agents.agent, answers=agents.AgentShape),
    Operation("PATCH", _AGENT, agents.change, body=agents.AgentChange, answers=agents.AgentShape),
    Operation("DELETE", _AGENT, agents.delete, status=204),
    Operation(
        "GET",
        _V1 + "/conversations",
        conversations.conversations,
        answers=list[conversations.ConversationShape],
        query=(*_PAGE, _METADATA),
    ),
    _talk(_V1 + "/conversations", conversations.start),
    Operation(
        "GET",
        _CONVERSATION,
        conversations.conversation,
        answers=conversations.ConversationShape,
    ),
    _talk(_CONVERSATION, conversations.append),
    Operation("DELETE", _CONVERSATION, conversations.delete, status=204),
    _talk(_CONVERSATION + "/restart", conversations.restart),
    Operation(
        "GET", _CONVERSATION + "/history", conversations.history, answers=conversations.History
    ),
    Operation(
        "GET", _CONVERSATION + "/messages", conversations.messages, answers=conversations.Messages
    ),
    Operation(
        "POST",
        _V1 + "/responses",
        responses.create,
        body=ResponseRequest,
        answers=ResponseShape,
        media=_STREAM,
    ),
    Operation(
        "POST",
        _V1 + "/embeddings",
        embeddings.create,
        body=embeddings.EmbeddingRequest,
        answers=embeddings.VectorList,
    ),
    Operation(
        "POST",
        _V1 + "/ocr",
        ocr.process,
        body=ocr.OCRRequest,
        answers=ocr.OCRShape,
        limit=upload_limit,
    ),
    Operation("GET", _V1 + "/files", files.files, answers=files.Files, query=_PAGE),
    Operation(
        "POST",
        _V1 + "/files",
        files.upload,
        answers=files.FileShape,
        body_media=_FORM,
        fields=("purpose",),
        limit=upload_limit,
    ),
    Operation("GET", _V1 + "/files/{id}", files.file, answers=files.FileShape),
    Operation("DELETE", _V1 + "/files/{id}", files.delete, answers=files.Gone),
    Operation(
        "GET", _V1 + "/files/{id}/content", files.content, media=("application/octet-stream",)
    ),
    Operation("GET", _JOBS, batches.jobs, answers=batches.Jobs, query=(*_PAGE, *_OF_JOBS)),
    Operation("POST", _JOBS, batches.create, body=batches.NewJob, answers=batches.JobShape),
    Operation("GET", _JOBS + "/{id}", batches.job, answers=batches.JobShape),
    Operation("DELETE", _JOBS + "/{id}", batches.delete, answers=files.Gone),
    Operation("POST", _JOBS + "/{id}/cancel", batches.cancel, answers=batches.JobShape),
    Operation("GET", _LIBRARIES, libraries.libraries, answers=library.Libraries, query=_PAGE),
    Operation(
        "POST",
        _LIBRARIES,
        libraries.create,
        body=library.NewLibrary,
        answers=library.LibraryShape,
        status=201,
    ),
    Operation("GET", _LIBRARIES + "/{library}", libraries.library, answers=library.LibraryShape),
    Operation("DELETE", _LIBRARIES + "/{library}", libraries.remove, status=204),
    Operation("GET", _DOCUMENTS, libraries.documents, answers=library.Documents, query=_PAGE),
    Operation(
        "POST",
        _DOCUMENTS,
        libraries.upload,
        answers=library.DocumentShape,
        status=201,
        body_media=_FORM,
        limit=upload_limit,
    ),
    Operation("GET", _DOCUMENT, libraries.document, answers=library.DocumentShape),
    Operation("DELETE", _DOCUMENT, libraries.delete, status=204),
    Operation("GET", _DOCUMENT + "/status", libraries.status, answers=library.StatusShape),
    Operation(
        "GET", _DOCUMENT + "/text_content", libraries.text_content, answers=library.TextShape
    ),
)
