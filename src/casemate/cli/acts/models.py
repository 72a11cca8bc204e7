"""Acts around models: import, propose, approve, withdraw, check, and whom to believe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from casemate.cli.acts import Item, act
from casemate.errors import Invalid, NotFound
from casemate.models.bom import bom
from casemate.models.importing import BUILT_IN, Copied, Order, bring_in
from casemate.models.manifest import Manifest
from casemate.models.registry import Model

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation
    from casemate.models.signature import Signer

T = TypeVar("T")


@act("model.list")
async def model_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield models."""
    for model in installation.models.list(caller):
        yield _model(model)


@act("model.show")
async def model_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield everything that is known of one model."""
    model = installation.models.get(caller, arguments["id"])
    signers = installation.models.signers
    signer = signers.by_fingerprint(model.signer) if model.signer else None
    parts = msgspec.to_builtins(model.manifest)
    said = {name: value for name, value in parts.items() if value is not None}
    yield {
        "id": model.id,
        "state": model.state,
        **{name: value for name, value in said.items() if name not in ("name", "v")},
        "digest": model.digest,
        "proposed": model.created,
        "proposed_by": _who(installation, caller, model.proposed_by),
        "approved_by": _who(installation, caller, model.approved_by),
        "signed_by": signer.name if signer else None,
        "signing_key": model.signer,
        "signer_trusted": signer is not None if model.signer else None,
        "files_checked": model.checked,
    }


@act("model.propose")
async def model_propose(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Propose a remote model by its manifest (TOML)."""
    try:
        parts = msgspec.toml.decode(arguments["manifest"], type=dict[str, Any])
    except msgspec.DecodeError as problem:
        raise Invalid(f"The manifest is not valid: {problem}.", "Correct it.") from None
    yield _model(installation.models.propose(caller, Manifest.new(**parts)))


@act("model.import")
async def model_import(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Take a folder in: how far it has come, and last the proposed model."""
    name, profile = arguments.get("name"), arguments.get("profile")
    if arguments["folder"] == BUILT_IN:
        order = Order.built_in(name, profile)
    else:
        manifest, signature = arguments.get("manifest"), arguments.get("signature")
        order = Order(
            Path(arguments["folder"]),
            name,
            profile,
            Path(manifest) if manifest else None,
            Path(signature) if signature else None,
        )
    steps = bring_in(installation.models, caller, order)
    try:
        while (step := await asyncio.to_thread(_next, steps)) is not None:
            if isinstance(step, Copied):
                yield {"done": step.bytes, "total": step.total}
            else:
                yield {**_model(step), "signed_by": step.signer}
    finally:
        await asyncio.to_thread(steps.close)  # type: ignore[attr-defined]


@act("model.approve")
async def model_approve(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Approve a model, as a second person."""
    # In a thread, because every file is read first.
    yield _model(await asyncio.to_thread(installation.models.approve, caller, arguments["id"]))


@act("model.withdraw")
async def model_withdraw(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Withdraw a model."""
    yield _model(installation.models.withdraw(caller, arguments["id"]))


@act("model.check")
async def model_check(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Read the files of models from end to end and yield what was found."""
    found = installation.models.check(caller, arguments.get("id"))
    while (one := await asyncio.to_thread(_next, found)) is not None:
        model, problem = one
        yield {
            "id": model.id,
            "state": model.state,
            "intact": problem is None,
            "files_checked": model.checked,
            "what": problem.what if problem else None,
            "next": problem.next if problem else None,
        }


@act("model.bom")
async def model_bom(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the bill of materials of a model, as text."""
    yield {"text": bom(installation.models.get(caller, arguments["id"]).manifest)}


@act("model.trust.add")
async def model_trust_add(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Believe a signer."""
    pem = arguments["pem"].encode()
    yield _signer(installation.models.signers.trust(caller, arguments["name"], pem))


@act("model.trust.list")
async def model_trust_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield whom this installation believes."""
    for signer in installation.models.signers.list(caller):
        yield _signer(signer)


@act("model.trust.remove")
async def model_trust_remove(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Stop believing a signer."""
    yield _signer(installation.models.signers.remove(caller, arguments["name"]))


def _next(steps: Iterator[T]) -> T | None:
    return next(steps, None)


def _model(model: Model) -> Item:
    return {
        "id": model.id,
        "state": model.state,
        "engine": model.manifest.engine,
        "label": model.manifest.label,
        "digest": model.digest,
    }


def _signer(signer: Signer) -> Item:
    return {"name": signer.name, "kind": signer.kind, "fingerprint": signer.fingerprint}


def _who(installation: Installation, caller: Caller, id: str | None) -> str | None:
    """A principal as the caller may know it: people of other tenants by their pseudonym."""
    if id is None:
        return None
    try:
        found = installation.gate.principals.by_id(id)
    except NotFound:
        return id  # the installation itself
    return found.name if found.tenant == caller.principal.tenant else found.pseudonym
