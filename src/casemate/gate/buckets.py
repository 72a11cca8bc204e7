"""Buckets: those in the settings, reached through a relay that goes checked ways only.

The library that talks to buckets is compiled, so Python's guard does not see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casemate.errors import Refused
from casemate.gate.relay import Relay
from casemate.store.bucket import bucket_of

if TYPE_CHECKING:
    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter, Route
    from casemate.settings import Settings


class Buckets:
    """The way to the buckets of one installation.

    ``places``: as they are before there is a gate, which records in a ledger that may lie in a
    bucket itself; set those of the gate as soon as it is there. ``lowest``: the label of what a
    bucket may hold at least.
    """

    def __init__(self, settings: Settings, places: Perimeter, lowest: Label) -> None:
        self.places = places
        self._settings = settings
        self._lowest = lowest
        self._relay: Relay | None = None
        chosen = (settings.blobs, settings.ledger)
        self._names = tuple(bucket_of(address)[0] for address in chosen if address)

    def relay(self) -> str:
        """The proxy that the library has to use, with its password. Raises Unavailable."""
        if self._relay is None:
            self._relay = Relay.open(self._route, self._settings.relay_port)
        return self._relay.address

    def require(self, address: str, endpoint: str, label: Label | None = None) -> None:
        """Raise Refused if what is labelled ``label`` may not go to ``s3://bucket/prefix``."""
        bucket, _ = bucket_of(address)
        self.places.bucket(bucket, endpoint, self._lowest if label is None else label)

    def close(self) -> None:
        """Close the relay, if there is one."""
        if self._relay is not None:
            self._relay.close()

    def _route(self, url: str) -> Route:
        for name in self._names[:-1]:
            try:
                return self.places.route(url, self._lowest, name)
            except Refused:
                continue
        return self.places.route(url, self._lowest, self._names[-1])
