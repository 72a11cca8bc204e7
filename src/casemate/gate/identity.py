"""Identity: the three moments at which somebody becomes known, and what knows them then.

A person types a name and a password here (``Accounts``: local ones, LDAP). A browser goes to
somebody else and comes back with their word (``Vouching``: OpenID Connect, SAML). A request carries
what opens the door (``Identity``: keys, sessions, certificates), which is asked on every request,
and again while something goes on. The first two end in a session, so that the third is where
everybody passes; nothing else makes a ``Caller`` out of what comes over the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from casemate.gate.caller import Caller
from casemate.gate.principal import Principal
from casemate.gate.sign_in import Begun, Finished

if TYPE_CHECKING:
    from casemate.gate.certificate import Certificates, Presented
    from casemate.gate.directory import Directory
    from casemate.gate.key import Keys
    from casemate.gate.local_account import LocalAccounts
    from casemate.gate.oidc.sign_ins import SignIns
    from casemate.gate.saml.sign_ins import SamlSignIns
    from casemate.gate.session import Sessions

Shown = TypeVar("Shown", contravariant=True)


class Identity(Protocol[Shown]):
    """Knows who comes with something of one kind."""

    def caller(self, shown: Shown, /) -> Caller:
        """Who comes with it, with the rights of now, and how surely that is known.

        Raises Unauthenticated, which does not tell an unknown one from one that has ended.
        """

    def stands(self, credential: str, /) -> bool:
        """Whether what opened the door for a caller (``Caller.credential``) still does."""


class Accounts(Protocol):
    """Knows people's passwords."""

    def enter(self, name: str, password: str) -> Principal | None:
        """Who that is; None for a wrong password, after as much work as for a right one.

        Raises Unavailable if somebody has to be asked who is silent.
        """

    def pretend(self, name: str) -> None:
        """As much work as ``enter``, for a name that is not to be looked at. Raises alike."""


class Vouching(Protocol):
    """Takes the word of those who are declared, each for its own people."""

    @property
    def providers(self) -> Mapping[str, Any]:
        """Those that are declared, by name."""

    async def begin(self, name: str, base: str, after: str) -> Begun:
        """Begin a sign-in; ``base`` is our address, ``after`` the page to go to then.

        Raises NotFound for a provider that is not declared.
        """

    async def finish(
        self, name: str, base: str, answer: Mapping[str, str], browser: str
    ) -> Finished:
        """End it with what came back to ``browser``: a session, or one of ``sign_in_refusal``."""


def _kept_to(
    carried: Keys | Sessions,
    shown: Certificates,
    typed: LocalAccounts | Directory,
    vouched: SignIns | SamlSignIns,
) -> tuple[Identity[str], Identity[Presented], Accounts, Vouching]:
    """Nobody calls this: mypy reads it, and so every way of knowing people keeps its shape."""
    return carried, shown, typed, vouched
