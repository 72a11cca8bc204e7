"""Access: all that lets somebody in, ended or erased as a whole, in the caller's transaction."""

from __future__ import annotations

import sqlalchemy as sa

from casemate.store.tables import (
    certificates,
    federated,
    group_members,
    key_uses,
    keys,
    links,
    provisioned,
    recovery_codes,
    second_factors,
    sessions,
    sign_in_steps,
)


def end(connection: sa.Connection, id: str, now: str) -> int:
    """End sessions, links, keys and certificates of a principal; how many opened something."""
    ended = end_sessions(connection, id)
    connection.execute(links.delete().where(links.c.principal == id))
    for table in (keys, certificates):
        mine = sa.and_(table.c.principal == id, table.c.revoked.is_(None))
        ended += connection.execute(table.update().where(mine).values(revoked=now)).rowcount
    return ended


def end_sessions(connection: sa.Connection, id: str) -> int:
    """End what is open and half open of a principal; how many sessions that were."""
    connection.execute(sign_in_steps.delete().where(sign_in_steps.c.principal == id))
    return connection.execute(sessions.delete().where(sessions.c.principal == id)).rowcount


def erase(connection: sa.Connection, id: str) -> None:
    """Leave no key, certificate, factor or identity of a principal: for forgetting."""
    mine = sa.select(keys.c.id).where(keys.c.principal == id)
    connection.execute(key_uses.delete().where(key_uses.c.key.in_(mine)))
    member = sa.select(provisioned.c.id).where(provisioned.c.principal == id)
    connection.execute(group_members.delete().where(group_members.c.member.in_(member)))
    for table in (keys, certificates, federated, provisioned, recovery_codes, second_factors):
        connection.execute(table.delete().where(table.c.principal == id))
