"""``/scim/v2/Groups``: groups of people, as a directory's program sees them."""

from __future__ import annotations

from casemate.api.scim.endpoint import Endpoint
from casemate.api.scim.exchange import Exchange
from casemate.api.scim.resources import Group as Shape
from casemate.gate.group import Group


def _add(exchange: Exchange, wanted: Shape) -> Group:
    return exchange.groups.add(
        exchange.caller, wanted.display_name or "", wanted.attributes(), wanted.member_ids()
    )


def _change(exchange: Exchange, wanted: Shape, id: str, version: int | None) -> Group:
    return exchange.groups.change(
        exchange.caller,
        id,
        wanted.display_name or "",
        wanted.attributes(),
        wanted.member_ids(),
        version=version,
    )


ENDPOINT = Endpoint(Shape, "displayName", lambda exchange: exchange.groups, Shape.of, _add, _change)
