"""OpenAI's dialect at ``/v1``: any client for it asks documents by choosing a model id.

Shapes: OpenAI's API reference for models and chat completions, and ``reasoning_content`` as
DeepSeek, vLLM and others spell what a model thought.
"""

from __future__ import annotations

from casemate.api.openai import chat, models
from casemate.api.resource import Operation

OPERATIONS = (
    Operation("GET", "/v1/models", models.list_models),
    Operation("GET", "/v1/models/{id:path}", models.model),
    Operation("POST", "/v1/chat/completions", chat.completions),
)
