"""What every SCIM resource has in common: who asks, what is read, and how it is answered.

RFC 7644: sections 3.4.2 (filters and pages), 3.12 (errors), 3.14 (versions).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from scim2_models import (
    Context,
    Error,
    ListResponse,
    Resource,
    ResponseParameters,
    SCIMException,
    SearchRequest,
)
from scim2_models.path import Comparison
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.errors import ScimProblem
from casemate.api.resource import Face
from casemate.api.scim.resources import POLICY, etag
from casemate.gate.provisioning import Changed

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.group import Groups
    from casemate.gate.provisioning import People

MEDIA = "application/scim+json"
MOST_RESULTS = 200  # on one page
_MOST_FILTER = 2_000  # characters, also of a path
_MOST_OPERATIONS = 1_000  # of a patch
_TAG = re.compile(r'\s*(?:W/)?"([0-9]{1,9})"\s*')
R = TypeVar("R", bound=Resource[Any])
T = TypeVar("T")


class Exchange:
    """One request of a program that may provision."""

    def __init__(self, face: Face, request: Request, caller: Caller) -> None:
        self.caller = caller
        self.people: People = face.installation.gate.people
        self.groups: Groups = face.installation.gate.groups
        self._request = request
        address = face.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
        self.base = f"{address}/scim/v2"

    @classmethod
    async def begin(cls, face: Face, request: Request) -> Exchange:
        """Raises Unauthenticated or Refused: only a service that may provision is answered."""
        caller = await bearer(face.installation, request)
        gate = face.installation.gate
        await asyncio.to_thread(gate.rights.administer, caller, "provision")
        return cls(face, request, caller)

    @property
    def id(self) -> str:
        """The id in the address."""
        return str(self._request.path_params["id"])

    async def work(self, act: Callable[[], T]) -> T:
        """Do ``act`` in a thread; what its parser refuses is raised in SCIM's words."""
        return await asyncio.to_thread(_translated, act)

    async def read(self, shape: type[Any], context: Context) -> Any:
        """The body as ``shape``. Raises ScimProblem."""
        body = await self._request.body()
        return await self.work(
            lambda: shape.model_validate_json(body, scim_ctx=context, scim_policy=POLICY)
        )

    async def read_patch(self, shape: type[Any]) -> Any:
        """The body as a patch of ``shape``. Raises ScimProblem, also for one that is too long."""
        body = await json_object(self._request)
        listed = next((body[name] for name in body if name.lower() == "operations"), None)
        operations = listed if isinstance(listed, list) else []
        # Reading a path takes time that grows with it: checked before anything reads one.
        long = any(
            len(str(value)) > _MOST_FILTER
            for one in operations
            if isinstance(one, dict)
            for name, value in one.items()
            if name.lower() == "path"
        )
        if long or len(operations) > _MOST_OPERATIONS:
            raise ScimProblem(
                f"A patch has at most {_MOST_OPERATIONS:,} operations, and each path at most "
                f"{_MOST_FILTER:,} characters.",
                "Send several.",
                "tooMany",
            )
        return await self.read(shape, Context.RESOURCE_PATCH_REQUEST)

    def parameters(self, kind: type[Resource[Any]]) -> Any:
        """Which attributes are wanted, of the query. Raises ScimProblem."""
        asked = self._query("attributes", "excludedAttributes")
        shape: Any = ResponseParameters.__class_getitem__(kind)
        return _translated(lambda: shape.model_validate(asked))

    def search(self, kind: type[Resource[Any]]) -> Any:
        """The search that the query asks for. Raises ScimProblem."""
        asked = self._query(
            *("attributes", "excludedAttributes", "filter", "sortBy", "sortOrder"),
            *("startIndex", "count"),
        )
        shape: Any = SearchRequest.__class_getitem__(kind)
        return _translated(lambda: _bounded(shape, asked))

    async def search_in_body(self, kind: type[Resource[Any]]) -> Any:
        """The search that the body asks for (RFC 7644, section 3.4.3). Raises ScimProblem."""
        shape: Any = SearchRequest.__class_getitem__(kind)
        search = await self.read(shape, Context.SEARCH_REQUEST)
        _check_length(search.filter)
        return search

    def expected(self) -> int | None:
        """The version that the client wants to change, if it says one. Raises Changed."""
        told = self._request.headers.get("if-match", "*").strip()
        if told == "*":
            return None
        tags = [_TAG.fullmatch(one) for one in told.split(",")]
        if len(tags) != 1 or tags[0] is None:
            raise Changed  # several, or none that was ever given out here
        return int(tags[0][1])

    def answer(self, made: Resource[Any], version: int, context: Context, status: int) -> Response:
        """``made`` as a response, with its entity tag and place."""
        tag = etag(version)
        headers = {"ETag": tag}
        if status == 201 and made.meta is not None:
            headers["Location"] = str(made.meta.location)
        unchanged = self._request.headers.get("if-none-match", "")
        if self._request.method in ("GET", "HEAD") and tag in re.split(r"\s*,\s*", unchanged):
            return Response(None, 304, headers)
        wanted = self.parameters(type(made))
        content = made.model_dump_json(scim_ctx=context, response_parameters=wanted)
        return Response(content, status, headers, MEDIA)

    def page(self, kind: type[R], search: Any, total: int, found: Sequence[R]) -> Response:
        """A page of resources as a response."""
        response = ListResponse.__class_getitem__(kind)(
            total_results=total,
            start_index=search.start_index or 1,
            items_per_page=len(found),
            resources=list(found),
        )
        content = response.model_dump_json(
            scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=search
        )
        return Response(content, 200, media_type=MEDIA)

    def _query(self, *names: str) -> dict[str, str]:
        asked = self._request.query_params
        return {name: asked[name] for name in names if name in asked}


Listing = Callable[[str | None, int, int | None], tuple[int, Sequence[R]]]


def selected(search: Any, attribute: str, listing: Listing[R]) -> tuple[int, Sequence[R]]:
    """How many match, and those on the page. ``listing``: those of a name, from, at most.

    ``attribute``: the one that the name is. What directories ask all the time, a page or the one
    of a name, is asked of the database; any other filter is tried on each.
    """
    skip, limit = (search.start_index or 1) - 1, MOST_RESULTS
    if search.count is not None:
        limit = min(search.count, limit)
    if search.filter is None and search.sort_by is None:
        return listing(None, skip, limit)
    _, found = listing(_named(search.filter, attribute), 0, None)
    if search.filter is not None:
        found = [one for one in found if search.filter.match(one)]
    if search.sort_by is not None:
        found = search.sort(found)
    return len(found), found[skip : skip + limit]


def _named(filter: Any, attribute: str) -> str | None:
    """The name that the filter asks for, if that is all it does."""
    node = None if filter is None else filter.ast
    if not isinstance(node, Comparison) or str(node.op) != "eq":
        return None
    plain = node.attr_path.uri is None and node.attr_path.sub_attr is None
    if not plain or node.attr_path.attr.lower() != attribute.lower():
        return None
    return node.value if isinstance(node.value, str) else None


def _bounded(shape: type[Any], asked: dict[str, str]) -> Any:
    _check_length(asked.get("filter"))
    return shape.model_validate(asked)


def _check_length(filter: str | None) -> None:
    if filter is not None and len(filter) > _MOST_FILTER:
        raise ScimProblem(
            f"The filter is longer than {_MOST_FILTER:,} characters.", "Ask for less.", "tooMany"
        )


def _translated(act: Callable[[], T]) -> T:
    try:
        return act()
    except ValidationError as problem:
        first = Error.from_validation_errors(problem)[0]
        raise _problem(first) from None
    except SCIMException as problem:
        raise _problem(problem.to_error()) from None
    except RecursionError:
        raise ScimProblem("It is nested too deeply.", "Ask for less.", "invalidFilter") from None


def _problem(error: Error) -> ScimProblem:
    problem = ScimProblem(
        error.detail or "The request is not valid.",
        "Correct it.",
        error.scim_type or "invalidValue",
    )
    problem.status = error.status or 400
    return problem
