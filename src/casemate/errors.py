"""Errors: one hierarchy, each saying what is wrong and what to do next.

``what`` is the fact, ``next`` the step that helps. Both are written for the person who reads
them and never hold a path outside the person's own words, a secret, or another tenant's content.
Faces (cli, web, api) render them; nobody else formats messages for people.
"""

from __future__ import annotations


class CasemateError(Exception):
    """The root: a fact and a next step. ``status`` is the HTTP status a face answers with."""

    status = 500

    def __init__(self, what: str, next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next = next

    def __str__(self) -> str:
        return f"{self.what} {self.next}".strip()


class Invalid(CasemateError):
    """The input cannot be understood or is out of bounds."""

    status = 400


class Unauthenticated(CasemateError):
    """Nobody, or nobody known, is asking."""

    status = 401


class Refused(CasemateError):
    """Known who asks; not allowed."""

    status = 403


class NotFound(CasemateError):
    """Absent, or hidden from the asker: the two are never told apart."""

    status = 404


class Conflict(CasemateError):
    """Somebody else holds it, or it exists already."""

    status = 409


class TooLarge(CasemateError):
    """More bytes than are accepted."""

    status = 413


class TooMany(CasemateError):
    """More than a quota allows, or more than can wait. ``retry_after``: seconds, if it is known."""

    status = 429

    def __init__(self, what: str, next: str = "", retry_after: int = 1) -> None:
        super().__init__(what, next)
        self.retry_after = retry_after


class Unsupported(CasemateError):
    """Not offered here."""

    status = 501


class Unavailable(CasemateError):
    """Something this depends on does not answer, or there is no room left.

    ``retry_after``: seconds after which it makes sense to ask again, if it is known.
    """

    status = 503

    def __init__(self, what: str, next: str = "", retry_after: int = 1) -> None:
        super().__init__(what, next)
        self.retry_after = retry_after


class Broken(Unavailable):
    """Something this depends on answered, and wrongly."""

    status = 502


class TooSlow(Unavailable):
    """Something this depends on did not answer in its time."""

    status = 504


class Tampered(CasemateError):
    """Bytes are not what their proof says they are."""

    status = 500
