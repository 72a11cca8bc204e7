"""What Mistral's API has and Casemate does not: one table, with what to use instead."""

from __future__ import annotations

_CHAT = "Use POST /mistral/v1/chat/completions."
_LATEST = "An agent has one version and one name here; GET …/agents/{id} gives it."
_LOOK = "GET /api/runs lists runs, and GET /api/runs/{id}/receipt proves one."
_WORDS = "Write it down, and ask in words."
_LIBRARIES = "Add documents with POST /mistral/v1/libraries/{id}/documents."
_ORIGINAL = "GET /api/documents/{id}/original gives the file to those with a key."
_SEARCH = "GET /api/search finds passages; a use case that has collections searches them itself."
_PURPOSE = "A use case decides what a model is used for; GET /mistral/v1/models lists yours."
_PEOPLE = "GET /api/whoami says who you are; an administrator manages people and keys."
_PROGRAM = "Let your program ask step by step."

_COLLECTION = "Make another, and move its documents; say who may read it at /api."
_AGAIN = "Delete the document, and add it again."
_APPROVAL = "A model is withdrawn by whoever may approve one: `casemate model withdraw`."

# Method (where others are served) and address below /mistral → (what would be there, what to use).
NOT_OFFERED = {
    "/v1/agents/{agent}/versions": ("Versions of agents", _LATEST),
    "/v1/agents/{agent}/version": ("Versions of agents", _LATEST),
    "/v1/agents/{agent}/aliases": ("Other names of agents", _LATEST),
    "/v1/responses/input_tokens": ("Counting of tokens", "The answer's usage counts them."),
    "/v1/files/{file}/url": ("Signed links", "GET …/content gives the file to those with a key."),
    "/v1/moderations": ("Moderation", "Check with a tool of your own."),
    "/v1/chat/moderations": ("Moderation", "Check with a tool of your own."),
    "/v1/classifications": ("Classification", _CHAT),
    "/v1/chat/classifications": ("Classification", _CHAT),
    "DELETE /v1/models/{model:path}": ("Deleting a model", _APPROVAL),
    "PUT /v1/libraries/{library}": ("Changing a library", _COLLECTION),
    "PATCH /v1/libraries/{library}": ("Changing a library", _COLLECTION),
    "PUT /v1/libraries/{library}/documents/{document}": ("Changing a document", _AGAIN),
    "PATCH /v1/libraries/{library}/documents/{document}": ("Changing a document", _AGAIN),
    "/v1/libraries/{library}/share": ("Sharing", "Say who may read when a collection is made."),
    "/v1/libraries/{library}/documents/{document}/signed-url": ("Signed links", _ORIGINAL),
    "/v1/libraries/{library}/documents/{document}/extracted-text-signed-url": (
        "Signed links",
        "GET …/text_content gives the text to those with a key.",
    ),
    "/v1/libraries/{library}/documents/{document}/reprocess": (
        "Reading a document again",
        "Delete it, and add it again.",
    ),
    "/v1/audio": ("Audio", _WORDS),
    "/v2/audio": ("Audio", _WORDS),
    "/v1/fine_tuning": ("Fine-tuning", "Train elsewhere, and have the weights approved here."),
    "/v1/connectors": ("Connectors", _LIBRARIES),
    "/v1/context": ("Search indexes", _SEARCH),
    "/v1/rag": ("Search indexes", _SEARCH),
    "/v1/observability": ("Observability", _LOOK),
    "/v1/workflows": ("Workflows", _PROGRAM),
    "/v1/triggers": ("Triggers", _PROGRAM),
    "/v1/webhooks": ("Webhooks", _LOOK),
    "/v1/client": ("Sessions of clients", "Send your key with each request."),
    "/v1/service-accounts": ("Managing service accounts", _PEOPLE),
    "/v1/users": ("Users", _PEOPLE),
    "/v1/whoami": ("This address", _PEOPLE),
    "/v2/prompts": ("Prompts kept by the server", "Send a system message."),
    "/v2/skills": ("Skills", _PURPOSE),
}
