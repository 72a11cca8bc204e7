"""Mistral's dialect at ``/mistral/v1``: its own clients ask documents by choosing a model id.

Shapes: those of the classes of Mistral's Python package, mistralai 3.7.0.
"""

from __future__ import annotations

from casemate.api.body import upload_limit
from casemate.api.mistral import chat, libraries, models
from casemate.api.mistral.elsewhere import NOT_OFFERED
from casemate.api.resource import Operation

__all__ = ["NOT_OFFERED", "OPERATIONS", "PREFIX"]

PREFIX = "/mistral"
_LIBRARIES = "/mistral/v1/libraries"
_DOCUMENTS = _LIBRARIES + "/{library}/documents"

OPERATIONS = (
    Operation("GET", "/mistral/v1/models", models.list_models),
    Operation("GET", "/mistral/v1/models/{id:path}", models.model),
    Operation("POST", "/mistral/v1/chat/completions", chat.completions),
    Operation("GET", _LIBRARIES, libraries.libraries),
    Operation("POST", _LIBRARIES, libraries.create),
    Operation("GET", _LIBRARIES + "/{library}", libraries.library),
    Operation("GET", _DOCUMENTS, libraries.documents),
    Operation("POST", _DOCUMENTS, libraries.upload, limit=upload_limit),
    Operation("GET", _DOCUMENTS + "/{document}", libraries.document),
    Operation("DELETE", _DOCUMENTS + "/{document}", libraries.delete),
    Operation("GET", _DOCUMENTS + "/{document}/status", libraries.status),
    Operation("GET", _DOCUMENTS + "/{document}/text_content", libraries.text_content),
)
