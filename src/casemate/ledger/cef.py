"""The ledger's entries as lines of the Common Event Format.

Format: CEF:0 ("Implementing ArcSight Common Event Format", revision 25 and later): a header of
seven fields between pipes, then key=value pairs. A line is UTF-8 and has no syslog header.
"""

from __future__ import annotations

from typing import Any

import msgspec

from casemate import __version__
from casemate.ledger.kind import meaning
from casemate.ledger.ocsf import failed, milliseconds
from casemate.ledger.search import Found

_LONGEST = 4_000  # characters of a custom string, by the format
_SEVERITIES = {1: 1, 2: 3, 3: 5, 4: 7, 5: 10}  # OCSF's to CEF's, which goes from 0 to 10
_HEADER = str.maketrans({"\\": "\\\\", "|": "\\|", "\n": " ", "\r": " "})
_VALUE = str.maketrans({"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r"})
_CUSTOM = ("use_case", "model", "label", "policies", "run")  # cs1 to cs5; cs6 holds the rest
_PLAIN = {"outcome": "outcome", "action": "act", "reason": "reason", "subject": "duid"}


def line(found: Found, origin: str) -> str:
    """One entry as a CEF line, without its newline. ``origin``: the name of its log.

    Fields without a place of their own stand in cs6, as JSON; longer than the format allows, cs6
    says where the entry is, and the entry holds them.
    """
    left = dict(found.entry)
    kind, time = str(left.pop("kind", "unknown")), left.pop("time", None)
    known = meaning(kind)
    head = ("Casemate", "Casemate", __version__, kind, known.title, str(_severity(found)))
    pairs = {
        "rt": str(milliseconds(time)),
        "externalId": str(found.index),
        "deviceExternalId": origin,
    }
    for name in ("actor", "principal"):
        # The first is who acted; with a second one (`acted.as`) that is whom it was about.
        if isinstance(left.get(name), str):
            pairs["suid" if "suid" not in pairs else "duid"] = left.pop(name)
    for name, key in _PLAIN.items():
        if isinstance(left.get(name), str) and key not in pairs:
            pairs[key] = left.pop(name)
    for number, name in enumerate(_CUSTOM, 1):
        said = _said(name, left)
        if said is not None:
            pairs |= {f"cs{number}": said, f"cs{number}Label": name}
    if left:
        rest = _json(left)
        if len(rest) > _LONGEST:
            rest = f"see entry {found.index}"
        pairs |= {"cs6": rest, "cs6Label": "more"}
    header = "|".join(part.translate(_HEADER) for part in head)
    extension = " ".join(f"{key}={value.translate(_VALUE)}" for key, value in pairs.items())
    return f"CEF:0|{header}|{extension}"


def _said(name: str, left: dict[str, Any]) -> str | None:
    """One field in a word that rules can compare; what is more than that word stays in the rest."""
    if isinstance(left.get(name), str):
        return str(left.pop(name))
    model, policy = left.get("model"), left.get("policy")
    if name == "model" and isinstance(model, dict) and "id" in model:
        return str(model["id"])
    if name == "policies":
        deciding = policy.get("deciding") if isinstance(policy, dict) else left.get("policies")
        return ",".join(map(str, deciding)) if isinstance(deciding, list) else None
    return None


def _severity(found: Found) -> int:
    severity = _SEVERITIES[meaning(found.entry.get("kind")).severity]
    return max(severity, 3) if failed(None, found.entry.get("outcome")) else severity


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
