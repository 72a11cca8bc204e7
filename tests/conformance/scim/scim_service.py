"""A real installation on loopback, for SCIM's own tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DIRECTORY = """
[[group]]
name = "Registry"
roles = ["user"]
clearance = "lu:unclassified"
"""


@dataclass(frozen=True)
class Service:
    """An address, the key of a service that may provision, and the owner's command line."""

    address: str
    key: str
    casemate: Callable[..., str]
