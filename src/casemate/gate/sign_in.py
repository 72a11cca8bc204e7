"""What every way of signing in with somebody else's word has in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Begun:
    """A sign-in under way: send the browser to ``address``, and let it keep ``browser``."""

    address: str
    browser: str


@dataclass(frozen=True)
class Finished:
    """A sign-in that is done.

    id_token: for signing out at the provider later; empty where there is none.
    """

    session: str
    after: str
    id_token: str
