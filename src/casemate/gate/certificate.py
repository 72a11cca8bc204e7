"""Client certificates: how machines prove who they are without a secret that can be copied.

A service is bound to one certificate by its thumbprint (SHA-256 of the DER form), or to a name in
certificates of the authorities that the setting ``tls_client_ca`` names: the subject, or a DNS
name, URI or e-mail address among the alternative names. Sources: RFC 5280; RFC 8705, section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Refused, Unauthenticated
from casemate.gate.caller import Caller
from casemate.gate.key import check_use_case
from casemate.gate.revocation import RevocationLists, State
from casemate.gate.right import Rights, installation
from casemate.gate.token import Random, identifier
from casemate.store.database import Database
from casemate.store.folder import disk_problem
from casemate.store.tables import certificates, principals

if TYPE_CHECKING:
    from cryptography import x509

    from casemate.gate.principal import Principals

KINDS = ("thumbprint", "subject", "dns", "uri", "email")
_ADVICE = "Give the certificate's file, or its name as the certificate spells it."
_RENEW = "Ask who issues certificates for a new one, and whoever runs Casemate to bind it."


@dataclass(frozen=True)
class Presented:
    """A certificate that somebody came with, and proved to hold the key of.

    by: who saw the proof. Over "tls" our own handshake, which also found that an authority of
    ours issued it; a "proxy" only handed it over, with the rest of its chain.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    by: Literal["tls", "proxy"]

    @classmethod
    def parse(cls, der: Sequence[bytes], by: Literal["tls", "proxy"]) -> Self:
        """Certificates in DER form, the holder's own first. Raises Unauthenticated."""
        from cryptography import x509

        try:
            found = tuple(x509.load_der_x509_certificate(one) for one in der)
        except ValueError:
            raise _refused("cannot be read") from None
        return cls(found[0], found[1:], by)


@dataclass(frozen=True)
class Authorities:
    """Who may issue client certificates: those of one PEM file.

    lists: what they have taken back; None: nobody publishes lists.
    """

    certificates: tuple[x509.Certificate, ...]
    lists: RevocationLists | None = None

    @classmethod
    def load(cls, path: Path, lists: Path | None = None) -> Self:
        """Raises Invalid if there is no certificate in the file, or no list in that of ``lists``.

        Unavailable if one of them cannot be read.
        """
        from cryptography import x509

        try:
            found = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
            return cls(found, None if lists is None else RevocationLists(lists, found))
        except ValueError:
            raise Invalid(
                f"{path.name} holds no certificates of authorities.",
                "Correct the setting `tls_client_ca`: it names a PEM file.",
            ) from None
        except OSError as problem:
            raise disk_problem(problem) from problem

    def check(self, presented: Presented, now: datetime) -> None:
        """Refuse a certificate that these authorities did not issue. Raises Unauthenticated."""
        from cryptography.x509 import verification

        policy = verification.PolicyBuilder().store(verification.Store(list(self.certificates)))
        try:
            verifier = policy.time(now.replace(tzinfo=None)).build_client_verifier()
            verifier.verify(presented.certificate, list(presented.chain))
        except (verification.VerificationError, ValueError):
            raise _refused("was not issued, for clients, by an authority that is trusted") from None


@dataclass(frozen=True)
class Binding:
    """What a service is known by."""

    id: str
    principal: str  # name
    use_case: str | None
    kind: str
    value: str
    created: str
    revoked: str | None


class Certificates:
    """Binds services to certificates, and recognises who comes with one."""

    def __init__(
        self,
        database: Database,
        principals: Principals,
        rights: Rights,
        random: Random,
        authorities: Authorities | None,
    ) -> None:
        self._database = database
        self._principals = principals
        self._rights = rights
        self._random = random
        self._authorities = authorities

    def bind(
        self, actor: Caller, name: str, kind: str, value: str, *, use_case: str | None = None
    ) -> str:
        """Let who comes with a certificate of this ``value`` be the service ``name``; an id.

        Raises Invalid, Refused (a person, a disabled one), NotFound (service, use case), Conflict.
        """
        value = checked_value(kind, value)
        if kind != "thumbprint" and self._authorities is None:
            raise Refused(
                "A name in a certificate means nothing without an authority that issued it.",
                "Set `tls_client_ca`, or bind the thumbprint.",
            )
        self._rights.administer(actor)
        target = self._principals.colleague(actor, name)
        self._rights.act_for(actor, target)
        if target.kind != "service" or target.disabled:
            raise Refused(
                "Certificates are for services that are not disabled.",
                "Make one: `casemate user create NAME --service`.",
            )
        id = identifier(self._random, 10)
        with self._database.write() as connection:
            if use_case is not None:
                check_use_case(connection, use_case, target.tenant)
            if _holders(connection, {(kind, value)}):
                raise Conflict(
                    "That certificate is bound already.", "Unbind it first: `casemate certificate`."
                )
            connection.execute(
                certificates.insert().values(
                    id=id,
                    principal=target.id,
                    use_case=use_case,
                    kind=kind,
                    value=value,
                    created=self._rights.acts.now(),
                )
            )
            self._rights.acts.record(
                "certificate.bound", actor.principal, certificate=id, subject=target.pseudonym
            )
        return id

    def unbind(self, actor: Caller, id: str) -> None:
        """End a binding now; twice is no error. Raises Refused, NotFound."""
        self._rights.administer(actor)
        query = sa.select(principals.c.pseudonym).join(certificates)
        mine = sa.and_(certificates.c.id == id, principals.c.tenant == actor.principal.tenant)
        with self._database.write() as connection:
            pseudonym = connection.execute(query.where(mine)).scalar()
            if pseudonym is None:
                raise NotFound(
                    "There is no certificate of that id.", "See `casemate certificate list`."
                )
            open_ = sa.and_(certificates.c.id == id, certificates.c.revoked.is_(None))
            connection.execute(
                certificates.update().where(open_).values(revoked=self._rights.acts.now())
            )
            self._rights.acts.record(
                "certificate.unbound", actor.principal, certificate=id, subject=pseudonym
            )

    def list(self, actor: Caller) -> list[Binding]:
        """The tenant's bindings, newest first. Raises Refused."""
        self._rights.require(actor, "administer", installation(actor.principal))
        query = (
            sa.select(certificates, principals.c.name)
            .join(principals)
            .where(principals.c.tenant == actor.principal.tenant)
            .order_by(certificates.c.created.desc(), certificates.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Binding(r.id, r.name, r.use_case, r.kind, r.value, r.created, r.revoked) for r in rows
        ]

    def caller(self, presented: Presented) -> Caller:
        """The service that comes with a certificate.

        Raises Unauthenticated, saying whether it has expired, is not valid yet, was issued by
        somebody else, was revoked, or is nobody's here.
        """
        now = self._rights.acts.clock()
        _check_dates(presented.certificate, now)
        if self._authorities is not None and self._authorities.lists is not None:
            self._authorities.lists.check(
                presented.certificate, presented.chain, now, self._rights.acts
            )
        thumbprint = thumbprint_of(presented.certificate)
        with self._database.read() as connection:
            found = _holders(connection, {("thumbprint", thumbprint)})
            if not found and self._authorities is not None:
                if presented.by == "proxy":
                    self._authorities.check(presented, now)
                found = _holders(connection, names_of(presented.certificate))
        if len(found) != 1:
            raise _refused("is nobody's here" if not found else "names more than one service")
        [((holder, use_case), id)] = found.items()
        return Caller(self._principals.by_id(holder), use_case, "certificate", credential=id)

    def lists(self, actor: Caller) -> Sequence[State]:
        """The revocation lists that are read, as they are now. Raises Refused, Invalid."""
        self._rights.require(actor, "administer", installation(actor.principal))
        if self._authorities is None or self._authorities.lists is None:
            return []
        return self._authorities.lists.states(self._rights.acts.clock())

    def stands(self, id: str) -> bool:
        """Whether the binding of this id still opens anything."""
        query = (
            sa.select(certificates.c.id)
            .join(principals)
            .where(
                certificates.c.id == id,
                certificates.c.revoked.is_(None),
                principals.c.disabled.is_(None),
            )
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None


_HOLDERS = (
    sa.select(certificates)
    .join(principals)
    .where(
        certificates.c.kind.in_(sa.bindparam("kinds", expanding=True)),
        certificates.c.value.in_(sa.bindparam("values", expanding=True)),
        certificates.c.revoked.is_(None),
        principals.c.disabled.is_(None),
    )
)


def _holders(
    connection: sa.Connection, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str | None], str]:
    """Who is bound to one of ``names``, and for which use case, with the id of a binding."""
    kinds, values = {kind for kind, _ in names}, {value for _, value in names}
    rows = connection.execute(_HOLDERS, {"kinds": list(kinds), "values": list(values)})
    return {(row.principal, row.use_case): row.id for row in rows if (row.kind, row.value) in names}


def thumbprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER form, in hex."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate.fingerprint(SHA256()).hex()


def names_of(certificate: x509.Certificate) -> set[tuple[str, str]]:
    """The names in a certificate that a service can be bound to, each with its kind."""
    from cryptography import x509

    names = {("subject", certificate.subject.rfc4514_string())}
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return names
    names |= {("dns", one.lower()) for one in found.get_values_for_type(x509.DNSName)}
    names |= {("uri", one) for one in found.get_values_for_type(x509.UniformResourceIdentifier)}
    return names | {("email", one) for one in found.get_values_for_type(x509.RFC822Name)}


def checked_value(kind: str, value: str) -> str:
    """``value`` as it is compared. Raises Invalid if it cannot stand in a certificate.

    No name holds a wildcard: a certificate that may stand for many machines names none.
    """
    if kind == "thumbprint":
        plain = value.replace(":", "").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", plain):
            raise Invalid("A thumbprint is 64 hex digits (SHA-256).", _ADVICE)
        return plain
    if kind == "subject":
        from cryptography import x509

        try:
            name = x509.Name.from_rfc4514_string(value)
        except ValueError:
            raise Invalid("That is not the subject of a certificate.", "CN=…,O=…,C=…") from None
        if not list(name):
            raise Invalid("A subject cannot be empty.", _ADVICE)
        return name.rfc4514_string()
    if kind not in KINDS:
        raise Invalid(f"There is no kind {kind[:40]!r}.", f"There are: {', '.join(KINDS)}.")
    if not 1 <= len(value) <= 255 or not re.fullmatch(r"[!-)+-~]+", value):
        raise Invalid("That name cannot be bound.", _ADVICE)
    return value.lower() if kind == "dns" else value


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise _refused("has expired")
    if now < certificate.not_valid_before_utc:
        raise _refused("is not valid yet")


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"This client certificate {why}.", _RENEW)
