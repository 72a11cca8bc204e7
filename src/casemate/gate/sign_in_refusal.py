"""Why a sign-in with a provider fails. One class a reason, so that a page can say it plainly.

``what`` is exact and for whoever runs the installation: it names the check, and holds no claim of
the person and no part of a token.
"""

from __future__ import annotations

from casemate.errors import Refused, Unauthenticated

_TELL = "Tell whoever runs Casemate, and when it was."


class Cancelled(Unauthenticated):
    """The provider says that nobody signed in there."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "Start again, and finish signing in there.")


class Late(Unauthenticated):
    """No such sign-in is under way: begun too long ago, elsewhere, or done already."""

    def __init__(self) -> None:
        super().__init__(
            "This sign-in was begun too long ago or in another browser, or is done already.",
            "Start again from the sign-in page.",
        )


class Untrusted(Unauthenticated):
    """What came from a provider, or in its name, does not pass a check."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The sign-in service's answer cannot be trusted: {what}.", _TELL)


class Unentitled(Refused):
    """The provider knows the person, and says nothing that gives a right here."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"This account gives no right here: {what}.", "Ask whoever manages your account for it."
        )


class Unassured(Refused):
    """The person proved who they are less strongly than is needed here."""

    def __init__(self, minimum: str) -> None:
        super().__init__(
            f"Signing in here needs the level of assurance {minimum!r}.",
            "Sign in again with a stronger means: a card, a token or an app.",
        )


class Barred(Refused):
    """The person was shut out here, whatever the provider says."""

    def __init__(self) -> None:
        super().__init__(
            "This account has been disabled here.", "Ask whoever runs Casemate if that is wrong."
        )
