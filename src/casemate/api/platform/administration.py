"""Administration under ``/api``: declarations as a whole or one thing at a time, and decisions.

A PUT makes one thing as its body says and may be repeated: the second time it changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, decoded, json_object
from casemate.api.caller import bearer_or_session
from casemate.api.platform.shapes import (
    Applied,
    Approval,
    DecidedShape,
    Digest,
    PolicySets,
    PolicySetShape,
    Reason,
    encode,
)
from casemate.api.resource import Face, json_response
from casemate.oversight.declaration import (
    CollectionBody,
    Declaration,
    PrincipalBody,
    TenantBody,
    UseCaseBody,
)

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.usecase import UseCase


async def apply(face: Face, request: Request) -> Response:
    """Make everything as the body declares it; with dry_run=true, only say what would be done.

    Answers 409 with the same body if something could not be done: what was, what failed and why.
    """
    caller = await bearer_or_session(face.installation, request)
    declaration = Declaration.parse(await json_object(request))
    applying = face.installation.applying
    dry = request.query_params.get("dry_run") == "true"
    act = applying.plan if dry else applying.apply
    found = await asyncio.to_thread(act, caller, declaration)
    failed = any(change.state == "failed" for change in found)
    return json_response(encode(Applied(found)), 409 if failed else 200)


async def put_tenant(face: Face, request: Request) -> Response:
    """Have a tenant of this name."""
    return await _put(face, request, TenantBody, "tenant", "name")


async def put_principal(face: Face, request: Request) -> Response:
    """Have a principal of this name as the body says; what it leaves out stays."""
    return await _put(face, request, PrincipalBody, "principal", "name")


async def put_collection(face: Face, request: Request) -> Response:
    """Have a collection of this name as the body says; what it leaves out stays."""
    return await _put(face, request, CollectionBody, "collection", "name")


async def put_use_case(face: Face, request: Request) -> Response:
    """Propose a use case, or a change of one; a second person approves it."""
    return await _put(face, request, UseCaseBody, "use_case", "id")


async def put_policies(face: Face, request: Request) -> Response:
    """Propose policy files in place of all that are in force; an owner approves them."""
    caller = await bearer_or_session(face.installation, request)
    declaration = Declaration.parse({"policies": await json_object(request)})
    return await _one(face, caller, declaration)


async def policies(face: Face, request: Request) -> Response:
    """The policies that are in force, and those that are proposed."""
    caller = await bearer_or_session(face.installation, request)
    found = await asyncio.to_thread(face.installation.gate.enforcement.sets, caller)
    shapes = [
        PolicySetShape(
            digest=one.digest, state=one.state, proposed=one.proposed, files=dict(one.files)
        )
        for one in found
    ]
    return json_response(encode(PolicySets(shapes)))


async def approve_policies(face: Face, request: Request) -> Response:
    """Approve the proposed policies with this digest, as a second person."""
    caller = await bearer_or_session(face.installation, request)
    approve = face.installation.gate.enforcement.approve
    digest = (await decoded(request, Digest)).digest
    before, after = await asyncio.to_thread(approve, caller, digest)
    shape = DecidedShape(id=after, state="in force", version=None, pending=None, before=before)
    return json_response(encode(shape))


async def approve_use_case(face: Face, request: Request) -> Response:
    """Approve a draft or a change, as a second person."""
    caller = await bearer_or_session(face.installation, request)
    wanted = await decoded(request, Approval)

    def approve() -> UseCase:
        return face.installation.gate.use_cases.approve(
            caller, request.path_params["id"], reason=wanted.reason, expected=wanted.version
        )

    return _decided(await asyncio.to_thread(approve))


async def suspend_use_case(face: Face, request: Request) -> Response:
    """Suspend an approved use case; it can be approved again."""
    caller = await bearer_or_session(face.installation, request)
    reason, use_cases = (await decoded(request, Reason)).reason, face.installation.gate.use_cases
    return _decided(
        await asyncio.to_thread(use_cases.suspend, caller, request.path_params["id"], reason)
    )


async def retire_use_case(face: Face, request: Request) -> Response:
    """Retire a use case for good."""
    caller = await bearer_or_session(face.installation, request)
    reason, use_cases = (await decoded(request, Reason)).reason, face.installation.gate.use_cases
    return _decided(
        await asyncio.to_thread(use_cases.retire, caller, request.path_params["id"], reason)
    )


async def _put(face: Face, request: Request, body: type[Struct], kind: str, named: str) -> Response:
    caller = await bearer_or_session(face.installation, request)
    plain = await json_object(request)
    converted(plain, body)  # so that a mistake is named as it stands in this body
    declaration = Declaration.parse({kind: [{**plain, named: request.path_params[named]}]})
    return await _one(face, caller, declaration)


async def _one(face: Face, caller: Caller, declaration: Declaration) -> Response:
    change = await asyncio.to_thread(face.installation.applying.one, caller, declaration)
    return json_response(msgspec.json.encode(change), 201 if change.act == "create" else 200)


def _decided(use_case: UseCase) -> Response:
    shape = DecidedShape(
        id=use_case.id,
        state=use_case.state,
        version=use_case.version,
        pending=use_case.pending,
        before=None,
    )
    return json_response(encode(shape))
