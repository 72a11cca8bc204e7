"""How programs reach in: OpenAI's and Mistral's dialects, our own API, the ledger, health.

Faces translate; they decide nothing. Rights are the gate's, answers are the run's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from casemate.api import (
    bounds,
    connection,
    errors,
    health,
    ledger,
    mistral,
    negotiation,
    openai,
    platform,
    scim,
    tls,
)
from casemate.api.batching import work
from casemate.api.direct import Direct
from casemate.api.elsewhere import not_offered
from casemate.api.resource import Face, nothing_else, routes_of
from casemate.api.surroundings import Surroundings

if TYPE_CHECKING:
    from casemate.installation import Installation

__all__ = [
    "Direct",
    "Surroundings",
    "bounds",
    "connection",
    "errors",
    "negotiation",
    "routes",
    "tls",
    "work",
]


def routes(installation: Installation) -> list[BaseRoute]:
    """Every address for programs; ``Surroundings`` goes around the application that holds them.

    They render their own errors, 404 and 405 included, whatever that application does.
    """
    face = Face(installation, time.time)
    return [
        *not_offered(openai.NOT_OFFERED, errors.openai),
        *routes_of(face, openai.OPERATIONS, errors.openai),
        *nothing_else("/v1", errors.openai),
        *not_offered(mistral.NOT_OFFERED, errors.mistral, mistral.PREFIX),
        *routes_of(face, mistral.OPERATIONS, errors.mistral),
        *nothing_else(mistral.PREFIX, errors.mistral),
        *routes_of(face, platform.OPERATIONS, errors.platform),
        *nothing_else("/api", errors.platform),
        *routes_of(face, scim.OPERATIONS, errors.scim),
        *nothing_else(scim.PREFIX, errors.scim),
        *routes_of(face, ledger.OPERATIONS, errors.platform),
        *nothing_else("/ledger", errors.platform),
        *routes_of(face, health.OPERATIONS, errors.platform),
    ]
