"""``/scim/v2/Users``: people, as a directory's program sees them."""

from __future__ import annotations

from casemate.api.scim.endpoint import Endpoint
from casemate.api.scim.exchange import Exchange
from casemate.api.scim.resources import User
from casemate.gate.provisioning import Person


def _add(exchange: Exchange, user: User) -> Person:
    return exchange.people.add(
        exchange.caller,
        user.user_name or "",
        user.attributes(),
        active=user.active is not False,
    )


def _change(exchange: Exchange, user: User, id: str, version: int | None) -> Person:
    return exchange.people.change(
        exchange.caller,
        id,
        user.user_name or "",
        user.attributes(),
        active=user.active,
        version=version,
    )


ENDPOINT = Endpoint(User, "userName", lambda exchange: exchange.people, User.of, _add, _change)
