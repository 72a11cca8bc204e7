"""Every parameter of others' packages has one fate, and the table says which."""

from __future__ import annotations

import typing

import msgspec
import openai.types as openai
import pytest
from mistralai.client import models as mistral
from openai.types import chat, completion_create_params, vector_stores
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params

from casemate.api import mistral as mistral_dialect
from casemate.api import openai as openai_dialect
from casemate.api import parameters
from casemate.api.errors import InvalidParameter
from casemate.api.mistral.agents import NewAgent
from casemate.api.mistral.asked import Arguments
from casemate.api.mistral.batches import NewJob
from casemate.api.mistral.embeddings import EmbeddingRequest as MistralEmbeddings
from casemate.api.mistral.fim import FillRequest
from casemate.api.mistral.ocr import OCRRequest
from casemate.api.mistral.request import ChatRequest as MistralChat
from casemate.api.mistral.talking import ConversationRequest
from casemate.api.openai.batches import NewBatch
from casemate.api.openai.completions import CompletionRequest
from casemate.api.openai.embeddings import EmbeddingRequest
from casemate.api.openai.file_batches import NewFileBatch
from casemate.api.openai.given import ResponseRequest
from casemate.api.openai.request import ChatRequest
from casemate.api.openai.store_files import NewStoreFile
from casemate.api.openai.stores import NewStore, StoreSearch

assert chat  # a package of theirs that has to be loaded first

OPENAI = [
    (parameters.OPENAI_CHAT, chat_params.CompletionCreateParamsBase, ChatRequest),
    (
        parameters.OPENAI_COMPLETIONS,
        completion_create_params.CompletionCreateParamsBase,
        CompletionRequest,
    ),
    (parameters.OPENAI_RESPONSES, response_create_params.ResponseCreateParamsBase, ResponseRequest),
    (parameters.OPENAI_EMBEDDINGS, openai.EmbeddingCreateParams, EmbeddingRequest),
    (parameters.OPENAI_FILE, openai.FileCreateParams, None),
    (parameters.OPENAI_STORE, openai.VectorStoreCreateParams, NewStore),
    (parameters.OPENAI_STORE_FILE, vector_stores.FileCreateParams, NewStoreFile),
    (parameters.OPENAI_FILE_BATCH, vector_stores.FileBatchCreateParams, NewFileBatch),
    (parameters.OPENAI_STORE_SEARCH, openai.VectorStoreSearchParams, StoreSearch),
    (parameters.OPENAI_BATCH, openai.BatchCreateParams, NewBatch),
]
MISTRAL = [
    (parameters.MISTRAL_CHAT, mistral.ChatCompletionRequest, MistralChat),
    (parameters.MISTRAL_AGENT_CHAT, mistral.AgentsCompletionRequest, MistralChat),
    (parameters.MISTRAL_EMBEDDINGS, mistral.EmbeddingRequest, MistralEmbeddings),
    (parameters.MISTRAL_FIM, mistral.FIMCompletionRequest, FillRequest),
    (parameters.MISTRAL_ARGUMENTS, mistral.CompletionArgs, Arguments),
    (parameters.MISTRAL_CONVERSATION, mistral.ConversationRequest, ConversationRequest),
    (parameters.MISTRAL_CONVERSATION, mistral.ConversationAppendRequest, ConversationRequest),
    (parameters.MISTRAL_CONVERSATION, mistral.ConversationRestartRequest, ConversationRequest),
    (parameters.MISTRAL_AGENT, mistral.CreateAgentRequest, NewAgent),
    (parameters.MISTRAL_OCR, mistral.OCRRequest, OCRRequest),
    (parameters.MISTRAL_BATCH, mistral.CreateBatchJobRequest, NewJob),
]


def names(cases):
    return [f"{theirs.__module__.rsplit('.', 1)[-1]}.{theirs.__name__}" for _, theirs, _ in cases]


TABLES = [
    (name, value)
    for name, value in vars(parameters).items()
    if isinstance(value, parameters.Parameters)
]


def fates(table: parameters.Parameters, name: str) -> int:
    # A parameter may be honoured in part: then a value that asks for more is refused.
    return (name in table.honoured or name in table.refused) + (name in table.harmless)


@pytest.mark.parametrize(("table", "theirs", "ours"), OPENAI, ids=names(OPENAI))
def test_every_parameter_of_openais_package_has_a_fate(table, theirs, ours):
    names = set(typing.get_type_hints(theirs))
    assert {name: fates(table, name) for name in names} == dict.fromkeys(names, 1)


@pytest.mark.parametrize(("table", "theirs", "ours"), MISTRAL, ids=names(MISTRAL))
def test_every_parameter_of_mistrals_package_has_a_fate(table, theirs, ours):
    names = {field.alias or name for name, field in theirs.model_fields.items()}
    assert {name: fates(table, name) for name in names} == dict.fromkeys(names, 1)


@pytest.mark.parametrize(
    ("table", "theirs", "ours"), [*OPENAI, *MISTRAL], ids=names([*OPENAI, *MISTRAL])
)
def test_what_is_said_to_be_honoured_is_read(table, theirs, ours):
    if ours is not None:
        assert table.honoured <= set(ours.__struct_fields__)


@pytest.mark.parametrize(("name", "table"), TABLES, ids=[name for name, _ in TABLES])
def test_a_value_that_asks_for_nothing_is_never_refused(name, table):
    table.check(dict.fromkeys(table.refused))


@pytest.mark.parametrize(("name", "table"), TABLES, ids=[name for name, _ in TABLES])
def test_a_refusal_names_the_parameter_and_says_what_to_do(name, table):
    for parameter in table.refused:
        with pytest.raises(InvalidParameter) as told:
            table.check({parameter: {"score_threshold": 1, "type": "unheard of"}})
        assert (told.value.param, told.value.code) == (parameter, "unsupported_parameter")
        assert told.value.next


def test_a_name_that_nobody_describes_is_accepted():
    parameters.OPENAI_CHAT.check({"something_new": {"a": 1}})


BODIES = {
    operation.body.__name__: operation.body
    for operation in (*openai_dialect.OPERATIONS, *mistral_dialect.OPERATIONS)
    if isinstance(operation.body, type) and issubclass(operation.body, msgspec.Struct)
}


@pytest.mark.parametrize("name", BODIES)
def test_null_asks_for_nothing_wherever_a_parameter_may_be_left_out(name):
    """Clients that write all they know send null for what nobody chose."""
    for field in msgspec.structs.fields(BODIES[name]):
        if not field.required:
            assert msgspec.convert(None, field.type) is None, field.name
