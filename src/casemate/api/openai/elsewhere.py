"""What OpenAI's API has and Casemate does not: one table, with what to use instead.

Addresses: those of the package openai 3.57.0.
"""

from __future__ import annotations

_CHAT = "Use POST /v1/responses, or POST /v1/chat/completions."
_TURNS = "Use POST /v1/conversations, and POST /v1/responses with conversation."
_PEOPLE = "GET /api/whoami says who you are; an administrator manages people, keys and use cases."
_LOOK = "GET /api/runs lists runs, and GET /api/runs/{id}/receipt proves one."
_WORDS = "Write it down, and ask in words."
_PROGRAM = "Let your program ask step by step, with tools of its own."

_KEPT = "Use POST /v1/responses, whose answers are kept; GET /api/runs lists what was asked."
_COLLECTION = "Make another, and move its documents; say who may read it at /api."
_APPROVAL = "A model is withdrawn by whoever may approve one: `casemate model withdraw`."

# Method (where others are served) and address → (what would be there, what to use).
NOT_OFFERED = {
    "/v1/assistants": ("Assistants", "A use case is one; GET /v1/models lists yours."),
    "/v1/threads": ("Threads", _TURNS),
    "GET /v1/chat/completions": ("Kept chat completions", _KEPT),
    "/v1/chat/completions/{completion}": ("Kept chat completions", _KEPT),
    "DELETE /v1/models/{model:path}": ("Deleting a model", _APPROVAL),
    "POST /v1/vector_stores/{store}": ("Changing a vector store", _COLLECTION),
    "POST /v1/vector_stores/{store}/files/{file}": (
        "Attributes of files",
        "Documents have none here.",
    ),
    "/v1/chatkit": ("ChatKit", _TURNS),
    "/v1/agents": ("Agents", _PROGRAM),
    "/v1/responses/compact": ("Compaction", "Leave out the turns that no longer matter."),
    "/v1/responses/input_tokens": ("Counting of tokens", "The answer's usage counts them."),
    "/v1/audio": ("Audio", _WORDS),
    "/v1/images": ("Images", "Nothing here draws."),
    "/v1/videos": ("Videos", "Nothing here films."),
    "/v1/realtime": ("Realtime", "Use POST /v1/responses with stream."),
    "/v1/live": ("Live sessions", "Use POST /v1/responses with stream."),
    "/v1/moderations": ("Moderation", "Check with a tool of your own."),
    "/v1/content_provenance_checks": ("Provenance of pictures", _LOOK),
    "/v1/decisions": ("Decisions", "No decision about a person is made here."),
    "/v1/fine_tuning": ("Fine-tuning", "Train elsewhere, and have the weights approved here."),
    "/v1/evals": ("Evaluations", "Measure with a tool of your own."),
    "/v1/uploads": ("Uploads in parts", "Use POST /v1/files."),
    "/v1/containers": ("Containers", _PROGRAM),
    "/v1/skills": ("Skills", _PROGRAM),
    "/v1/vaults": ("Vaults", "Keep secrets where your program runs."),
    "/v1/webhooks": ("Webhooks", _LOOK),
    "/v1/webhook_endpoints": ("Webhooks", _LOOK),
    "/v1/webhook_event_types": ("Webhooks", _LOOK),
    "/v1/organization": ("Administration", _PEOPLE),
    "/v1/projects": ("Administration", _PEOPLE),
    "/v1/safety": ("Safety cases", _LOOK),
    "/v1/edits": ("Edits", _CHAT),
    "/v1/engines": ("Engines", "GET /v1/models lists models."),
    "/v1/rerank": ("Ranking", "POST /v1/vector_stores/{id}/search finds passages, best first."),
}
