"""Use cases offered as models, as Mistral's clients read them: the same ids as at ``/v1``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import bearer
from casemate.api.errors import UnknownModel
from casemate.api.openai import models as openai
from casemate.api.openai.models import Offer
from casemate.api.resource import Face, json_response
from casemate.errors import Refused

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.usecase import UseCase
    from casemate.models.manifest import Manifest


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done with a model here. Clients take what is left out for false."""

    completion_chat: bool = True
    reasoning: bool
    function_calling: bool = False
    completion_fim: bool = False
    fine_tuning: bool = False
    vision: bool = False
    ocr: bool = False
    classification: bool = False
    moderation: bool = False
    audio: bool = False


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """Mistral's "model" object, of the type "base"."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0  # a use case has no date that a client could use
    owned_by: str = "casemate"
    capabilities: Capabilities
    name: str
    description: str
    max_context_length: int | UnsetType = UNSET
    aliases: list[str] = []
    type: Literal["base"] = "base"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Mistral's list of models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


async def list_models(face: Face, request: Request) -> Response:
    """Every model id that the caller may use."""
    caller = await bearer(face.installation, request)
    cards = await _cards(face, caller, await openai.offers(face, caller))
    return json_response(msgspec.json.encode(ModelList(data=cards)))


async def model(face: Face, request: Request) -> Response:
    """One model id."""
    caller = await bearer(face.installation, request)
    (card,) = await _cards(face, caller, [await offered(face, caller, request.path_params["id"])])
    return json_response(msgspec.json.encode(card))


async def offered(face: Face, caller: Caller, id: str) -> Offer:
    """The offer with this id. Raises UnknownModel."""
    try:
        return await openai.offered(face, caller, id)
    except UnknownModel as problem:
        raise UnknownModel(problem.what, "GET /mistral/v1/models lists yours.") from None


async def _cards(face: Face, caller: Caller, offers: list[Offer]) -> list[ModelCard]:
    use_cases = await asyncio.to_thread(face.installation.gate.use_cases.list, caller)
    by_id = {one.id: one for one in use_cases}
    try:
        models = await asyncio.to_thread(face.installation.models.list, caller)
    except Refused:
        models = []  # the caller may use models without being told how they are made
    manifests = {one.id: one.manifest for one in models}
    aliases: dict[str, list[str]] = {}
    for alias, id in face.settings.model_aliases.items():
        aliases.setdefault(id, []).append(alias)
    return [_card(offer, by_id[offer.use_case], manifests, aliases) for offer in offers]


def _card(
    offer: Offer,
    use_case: UseCase,
    manifests: dict[str, Manifest],
    aliases: dict[str, list[str]],
) -> ModelCard:
    manifest = manifests.get(offer.model or next(iter(use_case.models), ""))
    profile = manifest.profile if manifest else None
    length = (profile.context_tokens if profile else None) or (
        manifest.context_length if manifest else None
    )
    return ModelCard(
        id=offer.id,
        name=offer.id,
        description=use_case.purpose,
        capabilities=Capabilities(
            reasoning=profile is not None and profile.thinking != "none",
            completion_fim=manifest is not None
            and bool(manifest.fills)
            and use_case.collections == (),
            function_calling=manifest is not None
            and (manifest.engine == "remote" or (profile is not None and profile.tools)),
        ),
        max_context_length=length or UNSET,
        aliases=[one for one in aliases.get(offer.alias_of or offer.id, ()) if one != offer.id],
    )
