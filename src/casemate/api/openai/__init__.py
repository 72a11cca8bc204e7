"""OpenAI's dialect at ``/v1``: any client for it asks documents by choosing a model id.

Shapes: those of the package openai 3.57.0, and ``reasoning_content`` as DeepSeek, vLLM and others
spell what a model thought.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from casemate.api import openapi
from casemate.api.body import upload_limit
from casemate.api.errors import OpenAIError
from casemate.api.openai import (
    batches,
    chat,
    completions,
    conversations,
    embeddings,
    file_batches,
    files,
    models,
    responses,
    store_files,
    stores,
)
from casemate.api.openai.elsewhere import NOT_OFFERED
from casemate.api.openai.given import ResponseRequest
from casemate.api.openai.request import ChatRequest
from casemate.api.openai.responded import ResponseShape
from casemate.api.openai.response import Completion
from casemate.api.resource import Face, Operation, Query, json_response

__all__ = ["NOT_OFFERED", "OPERATIONS"]


async def describe(face: Face, request: Request) -> Response:
    """This dialect as OpenAPI."""
    return json_response(openapi.document(OPERATIONS, OpenAIError, "Casemate: OpenAI's dialect"))


_STREAM = ("application/json", "text/event-stream")
_FORM = ("multipart/form-data",)
_PAGE = (
    Query("limit", "How many entries at most.", int | None),
    Query("order", "asc or desc; newest first without it."),
    Query("after", "The last id of the page before."),
    Query("before", "The first id of the page after."),
)
_STORE = "/v1/vector_stores/{store}"
_STORE_FILE = _STORE + "/files/{file}"
_FILE_BATCHES = _STORE + "/file_batches"
_FILE_BATCH = _FILE_BATCHES + "/{batch}"
_RESPONSE = "/v1/responses/{id}"
_CONVERSATION = "/v1/conversations/{id}"
_ITEMS = _CONVERSATION + "/items"

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/v1/openapi.json", describe),
    Operation("GET", "/v1/models", models.list_models, answers=models.ModelList),
    Operation("GET", "/v1/models/{id:path}", models.model, answers=models.ModelShape),
    Operation(
        "POST",
        "/v1/chat/completions",
        chat.completions,
        body=ChatRequest,
        answers=Completion,
        media=_STREAM,
    ),
    Operation(
        "POST",
        "/v1/completions",
        completions.create,
        body=completions.CompletionRequest,
        answers=completions.TextCompletion,
        media=_STREAM,
    ),
    Operation(
        "POST",
        "/v1/responses",
        responses.create,
        body=ResponseRequest,
        answers=ResponseShape,
        media=_STREAM,
    ),
    Operation(
        "GET",
        _RESPONSE,
        responses.retrieve,
        answers=ResponseShape,
        query=(
            Query("stream", "true: as events, as when it was asked for."),
            Query("starting_after", "Number of the last event that is known.", int | None),
            Query("include", "What to give beside.", list[str]),
        ),
        media=_STREAM,
    ),
    Operation("DELETE", _RESPONSE, responses.delete, answers=responses.Deleted),
    Operation("POST", _RESPONSE + "/cancel", responses.cancel, answers=ResponseShape),
    Operation(
        "GET",
        _RESPONSE + "/input_items",
        responses.input_items,
        answers=responses.InputItems,
        query=_PAGE,
    ),
    Operation(
        "POST",
        "/v1/conversations",
        conversations.create,
        body=conversations.NewConversation,
        answers=conversations.ConversationShape,
    ),
    Operation(
        "GET",
        _CONVERSATION,
        conversations.conversation,
        answers=conversations.ConversationShape,
    ),
    Operation(
        "POST",
        _CONVERSATION,
        conversations.update,
        body=conversations.ConversationChange,
        answers=conversations.ConversationShape,
    ),
    Operation(
        "DELETE", _CONVERSATION, conversations.delete, answers=conversations.DeletedConversation
    ),
    Operation("GET", _ITEMS, conversations.items, answers=conversations.ItemList, query=_PAGE),
    Operation(
        "POST",
        _ITEMS,
        conversations.add_items,
        body=conversations.NewItems,
        answers=conversations.ItemList,
    ),
    Operation("GET", _ITEMS + "/{item}", conversations.item),
    Operation(
        "DELETE",
        _ITEMS + "/{item}",
        conversations.remove_item,
        answers=conversations.ConversationShape,
    ),
    Operation(
        "POST",
        "/v1/embeddings",
        embeddings.create,
        body=embeddings.EmbeddingRequest,
        answers=embeddings.EmbeddingList,
    ),
    Operation("GET", "/v1/files", files.files, answers=files.FileList, query=_PAGE),
    Operation(
        "POST",
        "/v1/files",
        files.upload,
        answers=files.FileShape,
        body_media=_FORM,
        fields=("purpose",),
        limit=upload_limit,
    ),
    Operation("GET", "/v1/files/{id}", files.file, answers=files.FileShape),
    Operation("DELETE", "/v1/files/{id}", files.delete, answers=files.DeletedFile),
    Operation("GET", "/v1/files/{id}/content", files.content, media=("application/octet-stream",)),
    Operation("GET", "/v1/vector_stores", stores.stores, answers=stores.StoreList, query=_PAGE),
    Operation(
        "POST", "/v1/vector_stores", stores.create, body=stores.NewStore, answers=stores.StoreShape
    ),
    Operation("GET", _STORE, stores.store, answers=stores.StoreShape),
    Operation("DELETE", _STORE, stores.delete, answers=stores.StoreGone),
    Operation(
        "POST", _STORE + "/search", stores.search, body=stores.StoreSearch, answers=stores.HitPage
    ),
    Operation(
        "GET", _STORE + "/files", store_files.files, answers=store_files.StoreFileList, query=_PAGE
    ),
    Operation(
        "POST",
        _STORE + "/files",
        store_files.add,
        body=store_files.NewStoreFile,
        answers=store_files.StoreFileShape,
    ),
    Operation("GET", _STORE_FILE, store_files.file, answers=store_files.StoreFileShape),
    Operation("DELETE", _STORE_FILE, store_files.remove, answers=store_files.DeletedShape),
    Operation(
        "GET", _STORE_FILE + "/content", store_files.file_content, answers=store_files.ContentPage
    ),
    Operation(
        "POST",
        _FILE_BATCHES,
        file_batches.create,
        body=file_batches.NewFileBatch,
        answers=file_batches.FileBatchShape,
    ),
    Operation("GET", _FILE_BATCH, file_batches.batch, answers=file_batches.FileBatchShape),
    Operation(
        "POST", _FILE_BATCH + "/cancel", file_batches.cancel, answers=file_batches.FileBatchShape
    ),
    Operation(
        "GET",
        _FILE_BATCH + "/files",
        file_batches.files,
        answers=store_files.StoreFileList,
        query=_PAGE,
    ),
    Operation("GET", "/v1/batches", batches.batches, answers=batches.BatchList, query=_PAGE),
    Operation(
        "POST", "/v1/batches", batches.create, body=batches.NewBatch, answers=batches.BatchShape
    ),
    Operation("GET", "/v1/batches/{id}", batches.batch, answers=batches.BatchShape),
    Operation("POST", "/v1/batches/{id}/cancel", batches.cancel, answers=batches.BatchShape),
)
