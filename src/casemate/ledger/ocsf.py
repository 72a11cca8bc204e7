"""The ledger's entries as events of the Open Cybersecurity Schema Framework.

Format: OCSF 1.3.0 (schema.ocsf.io; repository ocsf/ocsf-schema), classes 2004, 3001, 3002, 3004,
6002 and 6003; three of them take their actor from the profile ``host``. What has no place there
stands in ``unmapped``, so that an event holds every field of its entry.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from casemate import __version__
from casemate.ledger import kind as kinds
from casemate.ledger.kind import Meaning, meaning
from casemate.ledger.search import Found

VERSION = "1.3.0"
_PRODUCT = {"name": "Casemate", "vendor_name": "Casemate", "version": __version__}
_SUCCESS, _FAILURE = 1, 2
_BAD_OUTCOMES = ("failed", "refused")
_ACTIONS = {"read": 2, "search": 2, "audit": 2, "delete": 4}  # others have no word of their own
_OTHER_PROTOCOL = 99
_OF_HOST = (kinds.ENTITY, kinds.LIFECYCLE, kinds.FINDING)  # classes without an actor of their own

Fields = dict[str, Any]


def event(found: Found, origin: str) -> Fields:
    """One entry as an OCSF event. ``origin``: the name of the log that holds it."""
    left = dict(found.entry)
    kind, time = left.pop("kind", None), left.pop("time", None)
    known = meaning(kind)
    activity = _activity(known, found.entry)
    made: Fields = {
        "class_uid": known.class_uid,
        "category_uid": known.class_uid // 1000,
        "activity_id": activity,
        "type_uid": known.class_uid * 100 + activity,
        "severity_id": known.severity,
        "time": milliseconds(time),
        "message": known.title,
        "metadata": {
            "version": VERSION,
            "product": _PRODUCT,
            "uid": f"{origin}/{found.index}",
            "sequence": found.index,
            "event_code": str(kind),
            "log_name": origin,
        },
    }
    if known.class_uid in _OF_HOST:
        made["metadata"]["profiles"] = ["host"]
    if activity == kinds.OTHER:
        made["activity_name"] = known.title
    if known.class_uid != kinds.FINDING:  # a finding's status is its review, not a success
        made |= _status(kind, left.pop("outcome", None))
    made |= _SHAPES[known.class_uid](known, left, found, origin)
    if left:
        made["unmapped"] = left
    return made


def milliseconds(time: object) -> int:
    """An entry's time since 1970, in milliseconds; 0 of an entry without one."""
    try:
        moment = datetime.strptime(str(time), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1000


def failed(kind: object, outcome: object) -> bool:
    """Whether an entry tells of something that did not succeed."""
    return kind in ("refused", "bundle.refused") or outcome in _BAD_OUTCOMES


def _status(kind: object, outcome: object) -> Fields:
    status = _FAILURE if failed(kind, outcome) else _SUCCESS
    return {"status_id": status} | ({} if outcome is None else {"status_detail": str(outcome)})


def _activity(known: Meaning, entry: Fields) -> int:
    if entry.get("kind") == "refused":
        return _ACTIONS.get(str(entry.get("action")), kinds.OTHER)
    return known.activity


def _actor(left: Fields) -> Fields:
    """Who acted, by pseudonym: the asker of a run, or the actor of anything else."""
    who = left.pop("actor", None)
    if who is None:
        who = left.pop("principal", "unknown")
    return {"user": {"uid": str(who)}}


def _api(known: Meaning, left: Fields, found: Found, origin: str) -> Fields:
    actor = _actor(left)
    deciding = _deciding(left)
    if deciding:
        actor["authorizations"] = deciding
    resources = []
    for name, field in (("run", "run"), ("use case", "use_case")):
        if field in left:
            resources.append({"type": name, "uid": str(left.pop(field))})
    model = left.get("model")
    if isinstance(model, dict) and set(model) == {"id", "digest"}:
        del left["model"]
        resources.append({"type": "model", "name": model["id"], "uid": model["digest"]})
    if "resource" in left:
        type_, _, uid = str(left.pop("resource")).partition(":")
        resources.append({"type": type_, "uid": uid})
    operation = left.pop("action", None) or found.entry.get("kind")
    made: Fields = {
        "actor": actor,
        "api": {"operation": str(operation), "service": {"name": "Casemate", "uid": origin}},
        # The class requires it, and the ledger holds no address of anybody.
        "src_endpoint": {"name": "unknown"},
    }
    return made | ({"resources": resources} if resources else {})


def _deciding(left: Fields) -> list[Fields]:
    policy = left.get("policy")
    if (
        isinstance(policy, dict)
        and set(policy) == {"decision", "deciding", "digest"}
        and isinstance(policy["deciding"], list)
    ):
        del left["policy"]
        decision, ids, digest = policy["decision"], policy["deciding"], policy["digest"]
    elif isinstance(left.get("policies"), list) and "policy_set" in left:
        decision, ids, digest = "refuse", left.pop("policies"), left.pop("policy_set")
    else:
        return []
    if not ids:  # nobody permitted it, which is a refusal by all policies together
        return [{"decision": decision, "policy": {"uid": digest}}]
    return [{"decision": decision, "policy": {"uid": id, "version": digest}} for id in ids]


def _account(known: Meaning, left: Fields, found: Found, origin: str) -> Fields:
    user = {"uid": str(left.pop("subject", "unknown"))}
    if "key" in left:
        user["credential_uid"] = str(left.pop("key"))
    return {"actor": _actor(left), "user": user}


def _authentication(known: Meaning, left: Fields, found: Found, origin: str) -> Fields:
    made: Fields = {
        "user": _actor(left)["user"],
        "service": {"name": "Casemate", "uid": origin},
    }
    if "by" in left:
        made |= {"auth_protocol_id": _OTHER_PROTOCOL, "auth_protocol": str(left.pop("by"))}
    return made


def _entity(known: Meaning, left: Fields, found: Found, origin: str) -> Fields:
    uid = left.pop(known.named_by, None)
    named = {"name": known.thing} if uid is None else {"uid": str(uid)}
    return {"actor": _actor(left), "entity": {"type": known.thing} | named}


def _lifecycle(known: Meaning, left: Fields, found: Found, origin: str) -> Fields:
    app = {"name": str(left.pop("model", "unknown")), "vendor_name": "Casemate"}
    if "manifest" in left:
        app["version"] = str(left.pop("manifest"))
    return {"actor": _actor(left), "app": app}


def _finding(known: Meaning, left: Fields, found: Found, origin: str) -> Fields:
    info = {
        "uid": f"{origin}/{found.index}",
        "title": known.title,
        "created_time": milliseconds(found.entry.get("time")),
    }
    made: Fields = {"actor": _actor(left), "finding_info": info}
    if "model" in left:
        made["resources"] = [{"type": "model", "name": str(left.pop("model"))}]
        if "manifest" in left:
            made["resources"][0]["uid"] = str(left.pop("manifest"))
    return made


def _base(known: Meaning, left: Fields, found: Found, origin: str) -> Fields:
    return {}


_SHAPES: dict[int, Callable[[Meaning, Fields, Found, str], Fields]] = {
    kinds.API: _api,
    kinds.ACCOUNT: _account,
    kinds.AUTHENTICATION: _authentication,
    kinds.ENTITY: _entity,
    kinds.LIFECYCLE: _lifecycle,
    kinds.FINDING: _finding,
    kinds.UNCATEGORIZED: _base,
}
