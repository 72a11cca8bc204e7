"""Every address of the web face, on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from casemate.web import (
    ask,
    assets,
    documents,
    own_account,
    runs,
    sign_in,
    specimens,
    with_provider,
)
from casemate.web.front import Front

if TYPE_CHECKING:
    from casemate.installation import Installation


def routes(installation: Installation) -> list[BaseRoute]:
    """The pages of ``installation`` and the files they are made of, for one Starlette app."""
    front = Front(installation)
    return [
        *sign_in.routes(front),
        *own_account.routes(front),
        *with_provider.routes(front),
        *ask.routes(front),
        *runs.routes(front),
        *documents.routes(front),
        *specimens.routes(front),
        *assets.routes(),
    ]
