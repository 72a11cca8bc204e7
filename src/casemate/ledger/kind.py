"""Kinds of entries: what each means to those who watch many systems at once.

Classes and activities are those of the Open Cybersecurity Schema Framework, version 1.3.0
(schema.ocsf.io); severities are OCSF's too: 1 informational, 2 low, 3 medium, 4 high, 5 critical.
"""

from __future__ import annotations

from dataclasses import dataclass

FINDING, ACCOUNT, AUTHENTICATION, ENTITY, LIFECYCLE, API = 2004, 3001, 3002, 3004, 6002, 6003
UNCATEGORIZED = 0  # OCSF's base event

# Activities. Each class counts its own; 99 is "other" in all, and then the title says which.
_CREATE, _READ, _UPDATE, _DELETE, _ENABLE, _DISABLE = 1, 2, 3, 4, 8, 9  # of ENTITY; of API, 1 to 4
_ACCOUNT_CREATE, _ACCOUNT_ENABLE, _ACCOUNT_PASSWORD = 1, 2, 3
_ACCOUNT_DISABLE, _ACCOUNT_DELETE = 5, 6
_LOGON, _LOGOFF, _START, _STOP, _NEW_FINDING = 1, 2, 3, 4, 1
OTHER = 99


@dataclass(frozen=True)
class Meaning:
    """What a kind of entry is: a title, OCSF class, activity and severity.

    thing: of a change to something managed, what that is. named_by: the field with its id.
    """

    title: str
    class_uid: int
    activity: int
    severity: int = 1
    thing: str = ""
    named_by: str = ""


UNKNOWN = Meaning("Something of an unknown kind", UNCATEGORIZED, OTHER)


def _thing(thing: str, named_by: str, acts: dict[str, tuple[str, int, int]]) -> dict[str, Meaning]:
    """Meanings of what is done to one sort of thing: kind, then (title, activity, severity)."""
    return {
        kind: Meaning(title, ENTITY, activity, severity, thing, named_by)
        for kind, (title, activity, severity) in acts.items()
    }


MEANINGS: dict[str, Meaning] = {
    # what people ask
    "run.admitted": Meaning("Question admitted", API, _CREATE),
    "run.finished": Meaning("Run finished", API, _UPDATE),
    "run.reviewed": Meaning("Run reviewed", API, _UPDATE),
    "run.stopped": Meaning("Run stopped: its right was taken back", API, OTHER, 3),
    "run.repeated": Meaning("Run repeated", API, _READ),
    "refused": Meaning("Act refused", API, OTHER, 2),
    "acted.as": Meaning("Owner acted as somebody else", API, OTHER, 3),
    # people and services
    "principal.created": Meaning("Principal created", ACCOUNT, _ACCOUNT_CREATE),
    "principal.changed": Meaning("Rights changed", ACCOUNT, OTHER, 2),
    "principal.disabled": Meaning("Principal disabled", ACCOUNT, _ACCOUNT_DISABLE),
    "principal.enabled": Meaning("Principal let in again", ACCOUNT, _ACCOUNT_ENABLE, 2),
    "principal.removed": Meaning("Principal removed", ACCOUNT, _ACCOUNT_DELETE, 2),
    "principal.password_set": Meaning("Password set", ACCOUNT, _ACCOUNT_PASSWORD),
    "principal.forgetting": Meaning("Forgetting begun", ACCOUNT, OTHER, 2),
    "principal.forgotten": Meaning("Principal forgotten", ACCOUNT, _ACCOUNT_DELETE, 2),
    "key.created": Meaning("Key created", ACCOUNT, OTHER),
    "key.revoked": Meaning("Key revoked", ACCOUNT, OTHER),
    "certificate.bound": Meaning("Client certificate bound", ACCOUNT, OTHER),
    "certificate.unbound": Meaning("Client certificate unbound", ACCOUNT, OTHER),
    "certificate.lists_read": Meaning("Revocation lists of certificates read", ACCOUNT, OTHER),
    "link.created": Meaning("Sign-in link created", ACCOUNT, OTHER),
    "second_factor.enrolled": Meaning("Second factor enrolled", ACCOUNT, OTHER, 2),
    "second_factor.removed": Meaning("Second factor removed", ACCOUNT, OTHER, 3),
    "sign_in.locked": Meaning("Closed after failures to sign in", AUTHENTICATION, _LOGON, 3),
    "sign_in.refused": Meaning("Sign-in refused", AUTHENTICATION, _LOGON, 2),
    "session.opened": Meaning("Session opened", AUTHENTICATION, _LOGON),
    "session.ended": Meaning("Session ended by its provider", AUTHENTICATION, _LOGOFF),
    "principal.linked": Meaning("Identity of a provider linked", ACCOUNT, OTHER),
    "access.withdrawn": Meaning("Access withdrawn by its provider", ACCOUNT, OTHER, 2),
    # what is managed
    **_thing("tenant", "tenant", {"tenant.created": ("Tenant created", _CREATE, 1)}),
    **_thing(
        "collection",
        "collection",
        {
            "collection.created": ("Collection created", _CREATE, 1),
            "collection.changed": ("Readers of a collection changed", _UPDATE, 2),
            "collection.removed": ("Collection removed", _DELETE, 1),
        },
    ),
    **_thing(
        "policy set",
        "after",
        {
            "policies.loaded": ("Policies loaded", _UPDATE, 3),
            "policies.proposed": ("Policies proposed", _CREATE, 2),
            "policies.approved": ("Policies approved", _ENABLE, 3),
            "policies.withdrawn": ("Proposed policies taken back", _DELETE, 1),
        },
    ),
    **_thing(
        "declaration", "declaration", {"declaration.applied": ("Declaration applied", _UPDATE, 2)}
    ),
    **_thing(
        "documents of a collection",
        "collection",
        {
            "documents.added": ("Documents added", _CREATE, 1),
            "documents.deleted": ("Documents deleted", _DELETE, 1),
        },
    ),
    **_thing(
        "label of a document",
        "document",
        {
            "downgrade.requested": ("Downgrade requested", OTHER, 2),
            "downgrade.approved": ("Downgrade approved", _UPDATE, 3),
            "downgrade.rejected": ("Downgrade rejected", OTHER, 2),
        },
    ),
    **_thing(
        "file",
        "file",
        {
            "file.added": ("File kept", _CREATE, 1),
            "file.deleted": ("File deleted", _DELETE, 1),
        },
    ),
    **_thing(
        "batch",
        "batch",
        {
            "batch.created": ("Batch begun", _CREATE, 1),
            "batch.ended": ("Batch ended", _UPDATE, 1),
        },
    ),
    **_thing(
        "use case",
        "use_case",
        {
            "use_case.registered": ("Use case registered", _CREATE, 1),
            "use_case.changed": ("Change of a use case proposed", _UPDATE, 1),
            "use_case.withdrawn": ("Change of a use case taken back", _UPDATE, 1),
            "use_case.approved": ("Use case approved", _ENABLE, 2),
            "use_case.suspended": ("Use case suspended", _DISABLE, 2),
            "use_case.retired": ("Use case retired", _DELETE, 2),
        },
    ),
    **_thing(
        "model",
        "model",
        {
            "model.pulled": ("Model pulled", _CREATE, 1),
            "model.proposed": ("Model proposed", _CREATE, 1),
            "model.approved": ("Model approved", _ENABLE, 2),
            "model.withdrawn": ("Model withdrawn", _DISABLE, 2),
            "model.checked": ("Model checked", _READ, 1),
        },
    ),
    **_thing(
        "signer",
        "fingerprint",
        {
            "signer.trusted": ("Signer trusted", _CREATE, 2),
            "signer.removed": ("Signer removed", _DELETE, 2),
        },
    ),
    **_thing(
        "bundle key",
        "key",
        {
            "bundle.key_trusted": ("Bundle key trusted", _CREATE, 2),
            "bundle.key_removed": ("Bundle key removed", _DELETE, 2),
        },
    ),
    **_thing(
        "bundle",
        "bundle",
        {
            "bundle.made": ("Bundle made", _CREATE, 1),
            "bundle.quarantined": ("Bundle in quarantine", _CREATE, 1),
            "bundle.verified": ("Bundle verified", _READ, 1),
            "bundle.refused": ("Bundle refused", OTHER, 3),
            "bundle.promoted": ("Bundle let in", _ENABLE, 2),
        },
    ),
    **_thing(
        "place of the perimeter",
        "place",
        {
            "perimeter.added": ("Perimeter opened to a place", _CREATE, 3),
            "perimeter.removed": ("Perimeter closed to a place", _DELETE, 2),
            "perimeter.proved": ("Perimeter tried out", _READ, 1),
            "perimeter.changed": ("Perimeter changed in its file", _UPDATE, 3),
        },
    ),
    **_thing(
        "legal hold",
        "hold",
        {
            "hold.placed": ("Legal hold placed", _CREATE, 2),
            "hold.lifted": ("Legal hold lifted", _DELETE, 2),
        },
    ),
    **_thing(
        "key of the ledger",
        "keys",
        {
            "ledger.key_added": ("Second key signs the ledger", _CREATE, 3),
            "ledger.key_retired": ("Old key of the ledger retired", _DELETE, 3),
            "ledger.key_withdrawn": ("New key of the ledger given up", _DELETE, 3),
        },
    ),
    **_thing(
        "group of a directory",
        "group",
        {
            "group.created": ("Group created", _CREATE, 1),
            "group.changed": ("Group changed", _UPDATE, 2),
            "group.removed": ("Group removed", _DELETE, 2),
        },
    ),
    **_thing("country pack", "country", {"country.changed": ("Country pack changed", _UPDATE, 3)}),
    **_thing("retention", "tenant", {"retention.applied": ("Old content erased", _DELETE, 2)}),
    **_thing(
        "limit",
        "target",
        {
            "quota.set": ("Limit set", _UPDATE, 1),
            "quota.removed": ("Limit removed", _DELETE, 2),
        },
    ),
    **_thing("share", "target", {"share.set": ("Priority or weight set", _UPDATE, 1)}),
    **_thing("capacity", "model", {"capacity.declared": ("Capacity declared", _UPDATE, 1)}),
    # engines
    "engine.started": Meaning("Engine started", LIFECYCLE, _START),
    "engine.stopped": Meaning("Engine stopped", LIFECYCLE, _STOP),
    # what should never happen
    "connection.refused": Meaning("Attempt to reach outside the perimeter", FINDING, OTHER, 3),
    "model.tampered": Meaning("Model files are not as approved", FINDING, _NEW_FINDING, 5),
    "ledger.split_view": Meaning("Ledger shown in two histories", FINDING, _NEW_FINDING, 5),
}


def meaning(kind: object) -> Meaning:
    """What a kind means; of one that is not known here, that."""
    return MEANINGS.get(kind, UNKNOWN) if isinstance(kind, str) else UNKNOWN
