"""Revocation lists: client certificates that their authority has taken back.

One PEM file holds the lists of all authorities; the setting ``tls_client_crl`` names it. It is
looked at on each use, so that a new one counts at once. A list that is missing, out of date or not
signed by the authority says nothing, and then its certificates open nothing. Source: RFC 5280,
sections 5 and 6.3; whole lists only, as an authority publishes them itself (neither delta lists
nor indirect ones).
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.errors import CasemateError, Invalid, Unauthenticated
from casemate.store.folder import disk_problem

if TYPE_CHECKING:
    from cryptography import x509

    from casemate.gate.acts import Acts

_LARGEST = 64 << 20  # bytes of the file
_DEEPEST = 10  # certificates from a service to its root
_MOST_ISSUERS = 256  # for which it is kept what a list is worth
_CLOCKS = timedelta(minutes=5)  # that an authority's may be ahead
_BEGIN = b"-----BEGIN X509 CRL-----"
_END = b"-----END X509 CRL-----"
_log = logging.getLogger("casemate.gate.revocation")


@dataclass(frozen=True)
class State:
    """One list, for whoever keeps it fresh. ``revoked``: how many certificates it names."""

    issuer: str
    since: str
    until: str
    revoked: int
    usable: str  # "yes", or why not


class RevocationLists:
    """The lists of one file, and the authorities whose lists they are."""

    def __init__(self, path: Path, authorities: Sequence[x509.Certificate]) -> None:
        """Raises Invalid if the file is not one of lists, Unavailable if it cannot be read."""
        self._path = path
        self._authorities = tuple(authorities)
        self._changing = threading.Lock()
        self._seen = self._look()
        self._lists, self._digest = _read(path)
        self._told = ""  # the digest that the ledger knows of

    def check(
        self,
        certificate: x509.Certificate,
        chain: Sequence[x509.Certificate],
        now: datetime,
        acts: Acts,
    ) -> None:
        """Refuse a certificate that was taken back, or one above it. Raises Unauthenticated.

        Also for one whose issuer has no list here that counts now. ``acts``: told, once, which
        lists are used. Nothing is asked about what no authority here has issued.
        """
        lists = self._current(acts)
        known = [*self._authorities, *chain]
        for _ in range(_DEEPEST):
            issuer = _issuer(certificate, known)
            if issuer is None or certificate.subject == certificate.issuer:
                return
            self._check(certificate, issuer, lists, now)
            certificate = issuer
        raise _refused("comes with too many authorities", _RENEW)

    def states(self, now: datetime) -> list[State]:
        """Each list of the file as it is now. Raises Invalid, Unavailable."""
        lists, _ = _read(self._path)
        return [
            State(
                one.issuer.rfc4514_string(),
                f"{one.last_update_utc:%Y-%m-%dT%H:%M:%SZ}",
                "" if one.next_update_utc is None else f"{one.next_update_utc:%Y-%m-%dT%H:%M:%SZ}",
                len(one),
                self._fault_of(listed, now),
            )
            for listed in lists
            for one in (listed.found,)
        ]

    def _fault_of(self, listed: _Listed, now: datetime) -> str:
        signers = [one for one in self._authorities if one.subject == listed.found.issuer]
        if not signers:
            return "no authority of that name is trusted"
        faults = [listed.fault(signer, now) for signer in signers]
        return "yes" if None in faults else str(faults[0])

    def _check(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        lists: Sequence[_Listed],
        now: datetime,
    ) -> None:
        own = [one for one in lists if one.found.issuer == issuer.subject]
        faults = [one.fault(issuer, now) for one in own]
        usable = [one.found for one, fault in zip(own, faults, strict=True) if fault is None]
        if not usable:
            why = next((fault for fault in faults if fault), "there is none")
            _log.warning("a client certificate cannot be checked: list of its issuer: %s", why)
            raise _refused(
                f"cannot be checked against the revocation list of who issued it: {why}", _REPAIR
            )
        # An authority may publish the next list before the last one has ended.
        newest = max(usable, key=lambda one: one.last_update_utc)
        if newest.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise _refused("was revoked by who issued it", _RENEW)

    def _current(self, acts: Acts) -> tuple[_Listed, ...]:
        """The lists of the file; those of before, as long as they last, if it is broken now."""
        seen = self._look()
        with self._changing:
            if seen != self._seen:
                self._seen = seen
                try:
                    self._lists, self._digest = _read(self._path)
                except CasemateError as problem:
                    _log.warning("the lists of before stay in use: %s", problem.what)
            if self._digest != self._told:
                acts.record(
                    "certificate.lists_read", None, lists=self._digest, number=len(self._lists)
                )
                self._told = self._digest
            return self._lists

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> tuple[tuple[_Listed, ...], str]:
    """The lists of a file, and its digest. Raises Invalid, Unavailable."""
    from cryptography import x509

    try:
        content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    except OSError as problem:
        raise disk_problem(problem) from problem
    try:
        found = tuple(_Listed(x509.load_pem_x509_crl(one)) for one in _blocks(content))
    except ValueError:
        found = ()
    if not found:
        raise Invalid(
            f"{path.name} holds no revocation lists that can be read.",
            "Correct the setting `tls_client_crl`: it names a PEM file of lists.",
        )
    return found, f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blocks(content: bytes) -> Iterator[bytes]:
    for part in content.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        if not end:
            raise ValueError
        yield _BEGIN + body + _END + b"\n"


def _issuer(
    certificate: x509.Certificate, known: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    for one in known:
        if one.subject == certificate.issuer:
            try:
                certificate.verify_directly_issued_by(one)
            except Exception:  # noqa: S112 - whatever is wrong with it, it is not this one's
                continue
            return one
    return None


class _Listed:
    """One list, and what was found of its signature: that takes as long as the list is long."""

    def __init__(self, found: x509.CertificateRevocationList) -> None:
        self.found = found
        self._flaws: dict[x509.Certificate, str | None] = {}  # by who would have issued it

    def fault(self, issuer: x509.Certificate, now: datetime) -> str | None:
        """Why it says nothing now; None if it counts."""
        if issuer not in self._flaws:
            if len(self._flaws) >= _MOST_ISSUERS:  # whoever connects sends authorities of a name
                self._flaws.clear()
            self._flaws[issuer] = _flaw(self.found, issuer)
        flaw, one = self._flaws[issuer], self.found
        if flaw is not None:
            return flaw
        if one.last_update_utc > now + _CLOCKS:
            return "it is from the future"
        if one.next_update_utc is None:
            return "it does not say until when it holds"
        if one.next_update_utc <= now:
            return f"it is out of date since {one.next_update_utc:%Y-%m-%d %H:%M} UTC"
        return None


def _flaw(one: x509.CertificateRevocationList, issuer: x509.Certificate) -> str | None:
    """What is wrong with a list at any time; None if nothing is."""
    from cryptography.hazmat.primitives.hashes import SHA1, SHA224
    from cryptography.x509 import ExtensionNotFound, KeyUsage

    try:
        usage = issuer.extensions.get_extension_for_class(KeyUsage).value
        if not usage.crl_sign:
            return "its issuer may sign no lists"
    except ExtensionNotFound:
        pass
    try:
        if any(extension.critical for extension in one.extensions):
            return "it is a partial or indirect list"
        weak = isinstance(one.signature_hash_algorithm, SHA1 | SHA224)
        signed = not weak and one.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except Exception:
        # Whatever cannot be read in it: then nobody knows what it says.
        return "it cannot be read"
    return None if signed else "it is not signed by its issuer"


_RENEW = "Ask who issues certificates for a new one, and whoever runs Casemate to bind it."
_REPAIR = (
    "Whoever runs Casemate puts a current list into the file of `tls_client_crl`; it counts at "
    "once."
)


def _refused(why: str, advice: str) -> Unauthenticated:
    return Unauthenticated(f"This client certificate {why}.", advice)
