"""The requests that a package can make, read from its own source: every method of its client.

Calling each of them would need arguments for hundreds of methods; the address that it asks stands
in its code, and that is what a server has to know.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any


def openai_requests(client: Any) -> dict[str, tuple[str, str]]:
    """Method of the client → HTTP method and path below ``/v1``, for the package openai."""
    from openai._resource import SyncAPIResource

    asked = re.compile(
        r"self\._(get|post|put|patch|delete|get_api_list)\(\s*"
        r"(?:path_template\(\s*)?f?\"(/[^\"]*)\"",
    )

    def requests(method: Callable[..., Any]) -> tuple[str, str] | None:
        found = asked.search(inspect.getsource(method))
        if found is None:
            return None
        verb, path = found.groups()
        if verb == "get_api_list":
            verb = "post" if 'method="post"' in inspect.getsource(method) else "get"
        return verb.upper(), path.partition("?")[0]

    return _found(client, SyncAPIResource, requests)


def mistral_requests(client: Any) -> dict[str, tuple[str, str]]:
    """Method of the client → HTTP method and path below ``/mistral``, for the package mistralai."""
    from mistralai.client.basesdk import BaseSDK

    asked = re.compile(r"_build_request\(\s*method=\"([A-Z]+)\",\s*path=\"([^\"]+)\"")

    def requests(method: Callable[..., Any]) -> tuple[str, str] | None:
        found = asked.search(inspect.getsource(method))
        return None if found is None else (found[1], found[2].partition("#")[0])

    return _found(client, BaseSDK, requests)


def _found(
    client: Any, kind: type, requests: Callable[[Callable[..., Any]], tuple[str, str] | None]
) -> dict[str, tuple[str, str]]:
    told = {}
    for name, method in _methods(client, kind, ()):
        request = requests(method)
        if request is not None:
            told[name] = request
    return told


def _methods(
    resource: Any, kind: type, path: tuple[str, ...]
) -> Iterator[tuple[str, Callable[..., Any]]]:
    names = {*dir(resource), *getattr(type(resource), "_sub_sdk_map", {})}
    for name in sorted(names):
        if name.startswith(("_", "with_", "parent_ref")) or name.endswith("_async"):
            continue
        try:
            found = getattr(resource, name)
        except Exception:  # a part that needs a package which is not there
            continue
        if isinstance(found, kind):
            yield from _methods(found, kind, (*path, name))
        elif inspect.ismethod(found) and path:
            yield ".".join((*path, name)), found


def answered(
    ask: Callable[[str, str], tuple[int, str]], requests: dict[str, tuple[str, str]]
) -> dict[str, list[str]]:
    """Methods by what a server says to them: "offered", "refused" by name, or "unknown".

    ``ask``: makes a request of a method and a path; its status and text.
    """
    told: dict[str, list[str]] = {"offered": [], "refused": [], "unknown": []}
    seen: dict[tuple[str, str], str] = {}
    for name, request in requests.items():
        if request not in seen:
            status, text = ask(request[0], re.sub(r"\{\w+\}", "x1", request[1]))
            if status == 501 and "not supported here" in text:
                seen[request] = "refused"
            elif status in (405, 501) or "nothing at this address" in text:
                seen[request] = "unknown"
            else:
                seen[request] = "offered"
        told[seen[request]].append(name)
    return told
