"""Acts around people and services: principals, keys, sign-in links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.principal import Principal
    from casemate.installation import Installation


@act("user.create")
async def user_create(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Make a principal."""
    policy = installation.gate.country.policy
    clearance = arguments.get("clearance")
    made = installation.gate.principals.create(
        caller,
        arguments["name"],
        kind=arguments.get("kind", "person"),
        roles=arguments.get("roles") or ("user",),
        clearance=policy.parse(clearance) if clearance else policy.lowest(),
    )
    yield _principal(made)


@act("user.list")
async def user_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the principals of the caller's tenant."""
    for principal in installation.gate.principals.list(caller):
        yield _principal(principal)


@act("user.change")
async def user_change(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Give a principal another clearance or other roles."""
    clearance = arguments.get("clearance")
    yield _principal(
        installation.gate.principals.change(
            caller,
            arguments["name"],
            clearance=installation.gate.country.policy.parse(clearance) if clearance else None,
            roles=arguments.get("roles") or None,
        )
    )


@act("user.disable")
async def user_disable(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Shut a principal out."""
    installation.gate.principals.disable(caller, arguments["name"])
    yield {"name": arguments["name"], "state": "disabled"}


@act("user.password")
async def user_password(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Set a password."""
    installation.gate.principals.set_password(caller, arguments["name"], arguments["password"])
    yield {"name": arguments["name"], "state": "password set"}


@act("user.totp")
async def user_totp(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Ask for codes of an app at sign-in; what is yielded is shown this once."""
    made = installation.gate.second_factors.enrol(caller, arguments["name"])
    yield {
        "name": arguments["name"],
        "address": made.address,
        "recovery_codes": list(made.recovery_codes),
    }


@act("user.totp_off")
async def user_totp_off(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Ask for no codes any more."""
    installation.gate.second_factors.remove(caller, arguments["name"])
    yield {"name": arguments["name"], "state": "no second factor"}


@act("user.sign_out")
async def user_sign_out(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """End sessions of one or of everybody."""
    name = arguments.get("name")
    yield {"name": name, "ended": installation.gate.own_accounts.sign_out(caller, name)}


@act("user.link")
async def user_link(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Make a one-time sign-in link's token."""
    principals = installation.gate.principals
    name = arguments.get("name")
    target = principals.colleague(caller, name) if name else caller.principal
    token = installation.gate.sessions.link_for(target, actor=caller)
    yield {
        "name": target.name,
        "link": f"{installation.settings.base}/sign-in/{token}",
        "minutes": installation.settings.link_minutes,
    }


@act("user.refresh")
async def user_refresh(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Ask the directory again about everybody it has let in."""
    found = await asyncio.to_thread(installation.gate.refresh_directory, caller)
    yield {"known": found.known, "changed": found.changed, "gone": found.gone}


@act("key.create")
async def key_create(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Make an API key; its secret is yielded this once."""
    id, text = installation.gate.keys.create(
        caller,
        arguments["name"],
        use_case=arguments.get("use_case"),
        days=arguments.get("days"),
    )
    yield {"id": id, "key": text}


@act("key.list")
async def key_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield keys, never their secrets."""
    for key in installation.gate.keys.list(caller):
        yield {
            "id": key.id,
            "principal": key.principal,
            "use_case": key.use_case,
            "created": key.created,
            "expires": key.expires,
            "revoked": key.revoked,
            "last_used": key.last_used,
        }


@act("key.revoke")
async def key_revoke(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """End a key."""
    installation.gate.keys.revoke(caller, arguments["id"])
    yield {"id": arguments["id"], "state": "revoked"}


def _principal(principal: Principal) -> Item:
    return {
        "name": principal.name,
        "kind": principal.kind,
        "roles": sorted(principal.roles),
        "clearance": str(principal.clearance),
        "pseudonym": principal.pseudonym,
        "disabled": principal.disabled,
    }
