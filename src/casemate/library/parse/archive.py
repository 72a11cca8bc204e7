"""Zip-based formats: what is inside is weighed before any parser opens it.

Formats: ZIP (PKWARE APPNOTE 6.3.9), the container of OOXML (ECMA-376) and OpenDocument.
"""

from __future__ import annotations

import io
import zipfile
import zlib

from casemate.library.parse.extracted import MEBIBYTE, Limits, Unreadable

_MEMBERS = 10_000
_CHUNK = 256 * 1024
_ENCRYPTED_FLAG = 0x1
# Office wraps an encrypted document, as well as its formats before 2007, in an OLE file.
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_ENTITY = tuple("<!ENTITY".encode(code) for code in ("ascii", "utf-16-le", "utf-16-be"))


def weigh(content: bytes, limits: Limits, *, holding: str, listing: str) -> bytes:
    """Check that ``content`` is a sound zip of acceptable size which has the member ``holding``.

    Both the declared and the actual sizes count. Returns the member ``listing``, which lists the
    others. Raises Unreadable.
    """
    if content.startswith(_OLE):
        raise Unreadable(
            "is encrypted or in a format from before 2007",
            "remove the password, save it as a current document and add it again",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _weigh_members(archive, limits, {holding, listing})
            return archive.read(listing)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise Unreadable("is damaged") from error


def _weigh_members(archive: zipfile.ZipFile, limits: Limits, needed: set[str]) -> None:
    members = archive.infolist()
    if any(member.flag_bits & _ENCRYPTED_FLAG for member in members):
        raise encrypted()
    if len(members) > _MEMBERS:
        raise Unreadable(f"holds more than {_MEMBERS:,} parts")
    if sum(member.file_size for member in members) > limits.unpacked_bytes:
        raise _too_heavy(limits)
    if not needed <= set(archive.namelist()):
        raise Unreadable("is damaged or is not what its name says")
    left = limits.unpacked_bytes
    for member in members:
        left -= _weigh_member(archive, member, left, limits)


def _weigh_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, left: int, limits: Limits
) -> int:
    """Unpack one member without keeping it; how many bytes it really has."""
    size, tail = 0, b""
    is_xml = member.filename.lower().endswith((".xml", ".rels", ".rdf"))
    with archive.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > left:
                raise _too_heavy(limits)
            # Neither format knows entities; parsers behind us may expand them.
            if is_xml and any(entity in tail + chunk for entity in _ENTITY):
                raise Unreadable("holds XML entities, which no office program writes")
            tail = chunk[-16:]
    return size


def encrypted() -> Unreadable:
    """The refusal of a document with a password."""
    return Unreadable("is encrypted", "remove the password and add it again")


def _too_heavy(limits: Limits) -> Unreadable:
    return Unreadable(f"would unpack to more than {limits.unpacked_bytes // MEBIBYTE} MB")
