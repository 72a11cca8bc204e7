"""The platform's own API at ``/api``: collections, documents, search, runs, receipts.

``OPERATIONS`` is the one table: the routes and the OpenAPI document are both made from it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from casemate.api import openapi
from casemate.api.body import upload_limit
from casemate.api.platform import (
    account,
    administration,
    library,
    providers,
    quota,
    runs,
    shapes,
)
from casemate.api.resource import Face, Operation, Query, json_response
from casemate.oversight import applying, declaration
from casemate.reasoning import event
from casemate.reasoning.explain import Explanation


async def describe(face: Face, request: Request) -> Response:
    """This description."""
    return json_response(openapi.document(OPERATIONS, shapes.Problem))


_COLLECTION = Query("collection", "Name of a collection.")
_COLLECTIONS = Query("collection", "Names of collections to search in; none: all.", list[str])
_HITS = Annotated[int, Meta(ge=1, le=library.MOST_HITS)]
_MADE = ((201, applying.Change),)
_RUNS = Annotated[int, Meta(ge=1, le=runs.MOST_RUNS)]

OPERATIONS = (
    Operation("GET", "/api/openapi.json", describe),
    Operation(
        "POST",
        "/api/providers/{name}/logout",
        providers.logout,
        body_media=("application/x-www-form-urlencoded",),
    ),
    Operation("GET", "/api/whoami", account.whoami, answers=shapes.Who),
    Operation("GET", "/api/quota", quota.quota, answers=quota.QuotaShape),
    Operation("GET", "/api/use-cases", account.use_cases, answers=shapes.UseCases),
    Operation(
        "PUT",
        "/api/use-cases/{id}",
        administration.put_use_case,
        body=declaration.UseCaseBody,
        answers=applying.Change,
        also=_MADE,
    ),
    Operation(
        "POST",
        "/api/use-cases/{id}/approve",
        administration.approve_use_case,
        body=shapes.Approval,
        answers=shapes.DecidedShape,
    ),
    Operation(
        "POST",
        "/api/use-cases/{id}/suspend",
        administration.suspend_use_case,
        body=shapes.Reason,
        answers=shapes.DecidedShape,
    ),
    Operation(
        "POST",
        "/api/use-cases/{id}/retire",
        administration.retire_use_case,
        body=shapes.Reason,
        answers=shapes.DecidedShape,
    ),
    Operation(
        "POST",
        "/api/apply",
        administration.apply,
        body=declaration.Declaration,
        answers=shapes.Applied,
        also=((409, shapes.Applied),),
        query=(Query("dry_run", "true: say what would be done, and do nothing."),),
    ),
    Operation(
        "PUT",
        "/api/tenants/{name}",
        administration.put_tenant,
        body=declaration.TenantBody,
        answers=applying.Change,
        also=_MADE,
    ),
    Operation(
        "PUT",
        "/api/principals/{name}",
        administration.put_principal,
        body=declaration.PrincipalBody,
        answers=applying.Change,
        also=_MADE,
    ),
    Operation(
        "PUT",
        "/api/collections/{name}",
        administration.put_collection,
        body=declaration.CollectionBody,
        answers=applying.Change,
        also=_MADE,
    ),
    Operation("GET", "/api/policies", administration.policies, answers=shapes.PolicySets),
    Operation(
        "PUT",
        "/api/policies",
        administration.put_policies,
        body=declaration.WantedPolicies,
        answers=applying.Change,
        also=_MADE,
    ),
    Operation(
        "POST",
        "/api/policies/approve",
        administration.approve_policies,
        body=shapes.Digest,
        answers=shapes.DecidedShape,
    ),
    Operation("GET", "/api/models", account.models, answers=shapes.Models),
    Operation("GET", "/api/collections", library.collections, answers=shapes.Collections),
    Operation(
        "POST",
        "/api/collections",
        library.create_collection,
        body=shapes.NewCollection,
        answers=shapes.CollectionShape,
        status=201,
    ),
    Operation(
        "POST",
        "/api/collections/{name}/documents",
        library.add_document,
        answers=shapes.AddedShape,
        status=201,
        also=((200, shapes.AddedShape),),
        query=(Query("name", "Name of the document, when the body is its bytes."),),
        body_media=("multipart/form-data", "application/octet-stream"),
        limit=upload_limit,
    ),
    Operation(
        "GET", "/api/documents", library.documents, answers=shapes.Documents, query=(_COLLECTION,)
    ),
    Operation("GET", "/api/documents/{id}", library.document, answers=shapes.DocumentShape),
    Operation("DELETE", "/api/documents/{id}", library.delete_document, status=204),
    Operation(
        "GET", "/api/documents/{id}/label", library.document_label, media=("application/xml",)
    ),
    Operation("GET", "/api/documents/{id}/text", library.document_text, media=("text/plain",)),
    Operation("GET", "/api/documents/{id}/original", library.document_original, media=("*/*",)),
    Operation(
        "GET",
        "/api/search",
        library.search,
        answers=shapes.Hits,
        query=(
            Query("q", "What to look for.", str),
            _COLLECTIONS,
            Query("use_case", "Use case that the search serves."),
            Query("limit", "Most hits wanted.", _HITS),
        ),
    ),
    Operation(
        "POST",
        "/api/runs",
        runs.ask,
        body=event.Request,
        answers=shapes.RunAnswer,
        media=("application/json", runs.EVENT_STREAM),
    ),
    Operation(
        "GET",
        "/api/runs",
        runs.runs,
        answers=shapes.Runs,
        query=(
            Query("limit", "Most runs wanted.", _RUNS),
            Query("before", "Id of the run before which the list goes on."),
        ),
    ),
    Operation("GET", "/api/runs/{id}", runs.run_in_full, answers=shapes.RunShape),
    Operation("GET", "/api/runs/{id}/receipt", runs.receipt),
    Operation(
        "GET",
        "/api/runs/{id}/explanation",
        runs.explanation,
        answers=Explanation,
        also=((501, shapes.Problem),),  # the engine does not give the same answer twice
    ),
)
