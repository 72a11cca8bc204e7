"""What schemathesis is told of the installation it is put at: names of things that there are.

Loaded by schemathesis itself, in its own environment (``SCHEMATHESIS_HOOKS``). A request that names
a model, a collection or a run that nobody has ends at the first question; with real names in most
of them, requests get to where questions are answered. Which name it is follows from the request, so
that a seed gives the same cases again.
"""

from __future__ import annotations

import hashlib
import json
import os

import schemathesis

# {"model": [names], "paths": {beginning of a path: {variable: [names]}}}
KNOWN = json.loads(os.environ.get("CASEMATE_NAMES", "{}"))
_MADE_UP = 8  # one in so many keeps the name that was made up


def _drawn(of: object, names: list[str]) -> str | None:
    """One of ``names``, or None to leave it."""
    place = int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:4], "big")
    return names[place // _MADE_UP % len(names)] if names and place % _MADE_UP else None


@schemathesis.hook
def map_body(context, body):
    """Ask a model that there is."""
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        body["model"] = _drawn(body, KNOWN.get("model", [])) or body["model"]
    return body


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Name a thing that there is; never where it would be deleted or shut."""
    operation = context.operation
    if not isinstance(path_parameters, dict) or operation.method.upper() not in ("GET", "POST"):
        return path_parameters
    for beginning, variables in KNOWN.get("paths", {}).items():
        if operation.path.startswith(beginning):
            for name, names in variables.items():
                if name in path_parameters:
                    drawn = _drawn(path_parameters, names)
                    path_parameters[name] = drawn or path_parameters[name]
    return path_parameters
