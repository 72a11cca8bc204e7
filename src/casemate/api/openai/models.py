"""Use cases offered as models: the id is the use case, or "use case/model" where it has several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import bearer
from casemate.api.errors import UnknownModel
from casemate.api.resource import Face, json_response
from casemate.at_hand import promptly

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

# OpenAI dates its models; a use case has no such date that a client could use.
_CREATED = 0


@dataclass(frozen=True)
class Offer:
    """One model id and what it stands for. ``model`` None: the use case's own choice."""

    id: str
    use_case: str
    model: str | None
    alias_of: str | None = None  # where ``id`` is another name for one of the ids


class ModelShape(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's "model" object."""

    id: str
    object: Literal["model"] = "model"
    created: int = _CREATED
    owned_by: str = "casemate"
    alias_of: str | UnsetType = UNSET


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list of models."""

    object: Literal["list"] = "list"
    data: list[ModelShape]


async def list_models(face: Face, request: Request) -> Response:
    """Every model id that the caller may use."""
    caller = await bearer(face.installation, request)
    shapes = [_shape(offer) for offer in await offers(face, caller)]
    return json_response(msgspec.json.encode(ModelList(data=shapes)))


async def model(face: Face, request: Request) -> Response:
    """One model id."""
    caller = await bearer(face.installation, request)
    offer = await offered(face, caller, request.path_params["id"])
    return json_response(msgspec.json.encode(_shape(offer)))


def _shape(offer: Offer) -> ModelShape:
    return ModelShape(id=offer.id, alias_of=offer.alias_of or UNSET)


async def offers(face: Face, caller: Caller) -> list[Offer]:
    """What the caller may ask for, in order: each use case, then its models if it has several.

    Then other names for these, as the setting ``model_aliases`` gives them.
    """
    return await promptly(_offers, face, caller)


def _offers(face: Face, caller: Caller) -> list[Offer]:
    use_cases = face.installation.gate.use_cases.list(caller)
    found = []
    for use_case in use_cases:
        if use_case.state != "approved" or caller.use_case not in (None, use_case.id):
            continue
        found.append(Offer(use_case.id, use_case.id, None))
        if len(use_case.models) > 1:
            found += [Offer(f"{use_case.id}/{id}", use_case.id, id) for id in use_case.models]
    by_id = {offer.id: offer for offer in found}
    for alias, id in face.settings.model_aliases.items():
        offer = by_id.get(id)
        if offer is not None and alias not in by_id:
            found.append(Offer(alias, offer.use_case, offer.model, alias_of=id))
    return found


async def offered(face: Face, caller: Caller, id: str) -> Offer:
    """The offer with this id. Raises UnknownModel."""
    found = (await promptly(_by_id, face, caller)).get(id)
    if found is None:
        raise UnknownModel("There is no such model here for you.", "GET /v1/models lists yours.")
    return found


def _by_id(face: Face, caller: Caller) -> dict[str, Offer]:
    gate = face.installation.gate
    key = ("offers", caller.principal.id, caller.strength, caller.use_case, gate.policies)
    return gate.memory.recall(key, lambda: {one.id: one for one in _offers(face, caller)})
