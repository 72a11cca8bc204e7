"""Parameters of others' APIs: what becomes of each, in one table.

Honoured: it has its effect. Harmless: ignoring it changes nothing that the asker can rely on.
Refused: ignoring it would change the meaning of the answer, so it is refused by its name, unless
its value asks for nothing: nobody shall believe they got what they did not. A name that stands
nowhere here is accepted: what nobody describes promises nothing.

Names: those of the packages openai 3.57.0 and mistralai 3.7.0, and what vLLM, llama.cpp and
Ollama add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from casemate.api.errors import InvalidParameter

UNSUPPORTED = "unsupported_parameter"
WITHOUT = "Leave it out."
_EACH = "Ask once for each answer."
_WEB = "Nothing here searches the web; add documents instead."

# By name: which values ask for nothing, and what to do about the others.
Refused: TypeAlias = Mapping[str, tuple[Callable[[object], bool], str]]


@dataclass(frozen=True)
class Parameters:
    """What becomes of the parameters of one operation."""

    honoured: frozenset[str]
    harmless: frozenset[str]
    refused: Refused

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise InvalidParameter, naming the first parameter that is not honoured."""
        for name, (asks_nothing, next) in self.refused.items():
            if name in body and not asks_nothing(body[name]):
                raise InvalidParameter(name, f"{name} is not supported here.", next, UNSUPPORTED)


def absent(value: object) -> bool:
    """Whether it asks for nothing: null, false, 0, "", an empty list or object."""
    return not value


def one(value: object) -> bool:
    """Whether it asks for one answer."""
    return value is None or (value == 1 and value is not True)


def no_choice(value: object) -> bool:
    """Whether it leaves the choice of a tool to the model."""
    return value in (None, "none", "auto")


def _only(*values: object) -> Callable[[object], bool]:
    return lambda value: value is None or any(value == known for known in values)


_DRAWING = "temperature top_p seed max_tokens stop"
_WHO = "user metadata safety_identifier service_tier store"
_CACHE = "prompt_cache_key prompt_cache_options prompt_cache_retention"
# A model thinks here as its approved profile says.
_THINKING = "reasoning_effort verbosity"
# A nudge of the style, which no asker can tell from chance.
_NUDGES = "frequency_penalty presence_penalty repetition_penalty"
_PENALTIES: Refused = {
    "logit_bias": (absent, WITHOUT),
    "min_p": (absent, "Use temperature and top_p."),
    "top_k": (_only(0, -1), "Use temperature and top_p."),
    "min_tokens": (absent, WITHOUT),
}
# vLLM's, SGLang's and llama.cpp's ways to prescribe the form of an answer
_FORMS: Refused = {
    name: (absent, "Use response_format.")
    for name in (
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "structured_outputs",
        "grammar",
        "json_schema",
        "regex",
        "ebnf",
        "structural_tag",
    )
}
# What else such servers take: where an answer begins and ends, and what it may consist of.
_SERVERS: Refused = {
    "allowed_token_ids": (absent, "Use response_format."),
    "bad_words": (absent, "Say in a system message what you do not want."),
    "chat_template": (absent, "A model's template is approved with it."),
    "continue_final_message": (absent, "End with a user message."),
    "documents": (absent, "Write them into a message, or add them to a collection."),
    "ignore_eos": (absent, WITHOUT),
    "include_stop_str_in_output": (absent, WITHOUT),
    "length_penalty": (_only(0, 1), WITHOUT),
    "prompt_logprobs": (_only(False), WITHOUT),
    "stop_token_ids": (absent, "Use stop."),
    "truncate_prompt_tokens": (absent, "Cut the texts yourself."),
    "use_beam_search": (absent, WITHOUT),
}

OPENAI_CHAT = Parameters(
    honoured=frozenset(
        f"model messages stream stream_options n logprobs top_logprobs tools tool_choice "
        f"response_format max_completion_tokens parallel_tool_calls {_DRAWING}".split()
    ),
    harmless=frozenset(f"prediction {_WHO} {_CACHE} {_THINKING} {_NUDGES}".split()),
    refused={
        **_PENALTIES,
        **_FORMS,
        **_SERVERS,
        "functions": (absent, "Use tools."),
        "function_call": (no_choice, "Use tool_choice."),
        "audio": (absent, WITHOUT),
        "modalities": (_only([], ["text"]), 'Leave it out, or use ["text"].'),
        "moderation": (absent, "Check with a tool of your own."),
        "web_search_options": (absent, _WEB),
    },
)

OPENAI_COMPLETIONS = Parameters(
    honoured=frozenset(
        f"model prompt suffix stream stream_options n echo logprobs {_DRAWING}".split()
    ),
    harmless=frozenset(f"{_WHO} {_NUDGES}".split()),
    refused={
        **_PENALTIES,
        **_FORMS,
        **_SERVERS,
        "best_of": (_only(0, 1), _EACH),
    },
)

OPENAI_RESPONSES = Parameters(
    honoured=frozenset(
        "model input instructions previous_response_id conversation background stream store "
        "tools tool_choice text include metadata max_output_tokens temperature top_p "
        "top_logprobs parallel_tool_calls".split()
    ),
    harmless=frozenset(
        "reasoning truncation stream_options user safety_identifier service_tier "
        "background_options access_programs image "
        f"{_CACHE}".split()
    ),
    refused={
        "prompt": (absent, "Send instructions."),
        "context_management": (absent, WITHOUT),
        "max_tool_calls": (absent, "The setting run_rounds bounds what one run searches."),
        "moderation": (absent, "Check with a tool of your own."),
    },
)

OPENAI_CONVERSATION = Parameters(
    honoured=frozenset("items metadata".split()), harmless=frozenset(), refused={}
)

OPENAI_EMBEDDINGS = Parameters(
    honoured=frozenset("model input encoding_format".split()),
    harmless=frozenset({"user"}),
    refused={
        "dimensions": (absent, "Leave it out; vectors have the length that the model gives."),
        "input_type": (absent, "Write the words into the texts that the model was trained with."),
        "truncate_prompt_tokens": (absent, "Cut the texts yourself."),
    },
)

OPENAI_FILE = Parameters(
    honoured=frozenset("file purpose".split()),
    harmless=frozenset(),
    refused={"expires_after": (absent, "Delete the file when it is done with.")},
)

OPENAI_STORE = Parameters(
    honoured=frozenset("name file_ids".split()),
    harmless=frozenset("metadata description chunking_strategy".split()),
    refused={"expires_after": (absent, "A collection stays until its documents are deleted.")},
)

OPENAI_STORE_FILE = Parameters(
    honoured=frozenset({"file_id"}),
    harmless=frozenset({"chunking_strategy"}),
    refused={"attributes": (absent, "Documents have no attributes here.")},
)

OPENAI_FILE_BATCH = Parameters(
    honoured=frozenset("file_ids files".split()),
    harmless=frozenset({"chunking_strategy"}),
    refused={"attributes": (absent, "Documents have no attributes here.")},
)

OPENAI_STORE_SEARCH = Parameters(
    honoured=frozenset("query max_num_results".split()),
    harmless=frozenset(),
    refused={
        "filters": (absent, "Documents have no attributes here."),
        "rewrite_query": (absent, WITHOUT),
        "ranking_options": (
            lambda value: (
                not isinstance(value, dict)
                or (not value.get("score_threshold") and value.get("ranker") in (None, "auto"))
            ),
            "Take the best of what is found.",
        ),
    },
)

OPENAI_BATCH = Parameters(
    honoured=frozenset("endpoint input_file_id completion_window metadata".split()),
    harmless=frozenset(),
    refused={"output_expires_after": (absent, "Delete the file when it is done with.")},
)


def _libraries(value: object) -> bool:
    """Only tools of the asker's, and collections to search in, without more."""
    kinds = ("function", "document_library")
    return value is None or (
        isinstance(value, list)
        and all(
            isinstance(tool, dict)
            and tool.get("type", "function") in kinds
            and not tool.get("tool_configuration")
            for tool in value
        )
    )


_MISTRAL_PENALTIES: Refused = {
    "presence_penalty": (absent, WITHOUT),
    "frequency_penalty": (absent, WITHOUT),
    "repetition_penalty": (_only(0, 1), WITHOUT),
    "min_tokens": (absent, WITHOUT),
    "top_k": (absent, "Use temperature and top_p."),
}
_MISTRAL_DRAWING = "temperature top_p max_tokens random_seed stop stream"

MISTRAL_CHAT = Parameters(
    honoured=frozenset(
        f"model messages tools tool_choice response_format parallel_tool_calls reasoning_effort "
        f"{_MISTRAL_DRAWING}".split()
    ),
    harmless=frozenset("metadata prediction prompt_cache_key service_tier".split()),
    refused={
        **_MISTRAL_PENALTIES,
        "n": (one, _EACH),
        "tools": (
            _libraries,
            "Functions are, and document_library without more; a use case searches by itself.",
        ),
        "prompt_mode": (_only("reasoning"), 'Leave it out, or use "reasoning".'),
        "safe_prompt": (absent, "Leave it out, and say in a system message what you want."),
        "guardrails": (absent, "Leave it out, and check the answer yourself."),
        "logprobs": (absent, "POST /v1/chat/completions gives them."),
        "top_logprobs": (absent, "POST /v1/chat/completions gives them."),
        "prompt_logprobs": (absent, WITHOUT),
        "top_prompt_logprobs": (absent, WITHOUT),
    },
)

MISTRAL_AGENT_CHAT = Parameters(
    honoured=(MISTRAL_CHAT.honoured - {"model"}) | {"agent_id"},
    harmless=MISTRAL_CHAT.harmless,
    refused=MISTRAL_CHAT.refused,
)

MISTRAL_FIM = Parameters(
    honoured=frozenset(f"model prompt suffix {_MISTRAL_DRAWING}".split()),
    harmless=frozenset("metadata prompt_cache_key".split()),
    refused=_MISTRAL_PENALTIES,
)

MISTRAL_EMBEDDINGS = Parameters(
    honoured=frozenset("model input".split()),
    harmless=frozenset({"metadata"}),
    refused={
        # No class of Mistral's own package reads anything but numbers.
        "encoding_format": (_only("float"), 'Use "float"; POST /v1/embeddings gives "base64".'),
        "output_dimension": (absent, "Leave it out; vectors have the length the model gives."),
        "output_dtype": (_only("float"), 'Leave it out, or use "float".'),
    },
)

_ARGUMENTS = (
    "temperature top_p max_tokens random_seed stop response_format tool_choice reasoning_effort"
)

MISTRAL_ARGUMENTS = Parameters(
    honoured=frozenset(_ARGUMENTS.split()),
    harmless=frozenset({"prediction"}),
    refused={
        "presence_penalty": (absent, WITHOUT),
        "frequency_penalty": (absent, WITHOUT),
    },
)

MISTRAL_CONVERSATION = Parameters(
    honoured=frozenset(
        "inputs stream store instructions tools completion_args name description metadata "
        "agent_id model from_entry_id".split()
    ),
    harmless=frozenset({"handoff_execution"}),  # nothing is handed off
    refused={
        "guardrails": (absent, "Leave it out, and check the answer yourself."),
        "agent_version": (absent, "An agent has one version here."),
        "tool_confirmations": (absent, "Send the results of the calls."),
    },
)

MISTRAL_AGENT = Parameters(
    honoured=frozenset(
        "model name instructions tools completion_args description metadata".split()
    ),
    harmless=frozenset("version_message deployment_chat".split()),
    refused={
        "guardrails": (absent, "Leave it out, and check the answer yourself."),
        "handoffs": (absent, "Let your program hand over."),
    },
)

MISTRAL_OCR = Parameters(
    honoured=frozenset("model document pages".split()),
    # Pictures are not looked at, so their number and size do not matter.
    harmless=frozenset(
        "id image_limit image_min_size include_image_base64 include_blocks table_format".split()
    ),
    refused={
        "bbox_annotation_format": (absent, WITHOUT),
        "document_annotation_format": (absent, "Add the document, and ask about it."),
        "document_annotation_prompt": (absent, "Add the document, and ask about it."),
        "extract_header": (absent, WITHOUT),
        "extract_footer": (absent, WITHOUT),
        "confidence_scores_granularity": (absent, "Nothing is guessed: the text is the file's."),
    },
)

MISTRAL_BATCH = Parameters(
    honoured=frozenset(
        "endpoint input_files requests model agent_id metadata timeout_hours".split()
    ),
    harmless=frozenset(),
    refused={},
)
