"""Acts around client certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("certificate.bind")
async def certificate_bind(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Bind a service to a certificate."""
    id = installation.gate.certificates.bind(
        caller,
        arguments["name"],
        arguments["kind"],
        arguments["value"],
        use_case=arguments.get("use_case"),
    )
    yield {"id": id, "principal": arguments["name"], "state": "bound"}


@act("certificate.list")
async def certificate_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield bindings."""
    for one in installation.gate.certificates.list(caller):
        yield {
            "id": one.id,
            "principal": one.principal,
            "use_case": one.use_case,
            "kind": one.kind,
            "value": one.value,
            "created": one.created,
            "revoked": one.revoked,
        }


@act("certificate.lists")
async def certificate_lists(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the revocation lists that are read."""
    for one in installation.gate.certificates.lists(caller):
        yield {
            "issuer": one.issuer,
            "since": one.since,
            "until": one.until,
            "revoked": one.revoked,
            "usable": one.usable,
        }


@act("certificate.unbind")
async def certificate_unbind(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """End a binding."""
    installation.gate.certificates.unbind(caller, arguments["id"])
    yield {"id": arguments["id"], "state": "unbound"}
