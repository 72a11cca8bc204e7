"""Acts around identity providers: what is declared, and whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.gate.oidc.sign_ins import redirect
from casemate.gate.saml.request import answer_address, entity

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("provider.list")
async def provider_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield providers, with the addresses to register at each."""
    await asyncio.to_thread(installation.gate.require, caller, "administer")
    base = installation.settings.base
    for one in installation.gate.sign_ins.providers.values():
        yield {
            "name": one.name,
            "title": one.title,
            "issuer": one.issuer,
            "back": redirect(base, one.name),
            "logout": f"{base}/api/providers/{one.name}/logout",
            **({} if one.key is None else {"keys": f"{base}/sign-in/with/{one.name}/keys"}),
        }
    for other in installation.gate.saml.providers.values():
        yield {
            "name": other.name,
            "title": other.title,
            "issuer": other.issuer,
            "back": answer_address(base, other.name),
            "metadata": entity(base, other.name),
        }


@act("provider.check")
async def provider_check(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield what a provider says of itself now."""
    await asyncio.to_thread(installation.gate.require, caller, "administer")
    found = await installation.gate.sign_ins.check(arguments["name"])
    yield {
        "name": arguments["name"],
        "state": "answers",
        "authorization": found.authorization,
        "token": found.token,
        "keys": found.keys,
        "userinfo": found.userinfo,
        "end_session": found.end_session,
    }
