"""The bundle as a file: anyone's tar opens it, and no byte of it can be another one."""

from __future__ import annotations

import tarfile
from io import BytesIO

import pytest
from bundle_parts import (
    ANNA,
    BOB,
    EVE,
    PAPERS,
    a_bundle,
    a_content,
    a_manifest,
    a_member,
    read,
    the_head,
    the_members,
)
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import CasemateError, Invalid, Refused, Tampered
from casemate.models.bundle import archive
from casemate.models.bundle.keys import SIGNATURE_SIZE, Signature
from casemate.models.bundle.reading import Reader

WHOLE = a_bundle()


def test_a_bundle_is_read_back() -> None:
    manifest, seal = read(WHOLE)
    assert manifest == a_manifest()
    assert seal.digest == manifest.digest()
    assert [one.key for one in seal.signatures] == [ANNA.public, BOB.public]


def test_anyones_tar_opens_a_bundle() -> None:
    with tarfile.open(fileobj=BytesIO(WHOLE), mode="r|") as opened:
        found = {one.name: opened.extractfile(one).read() for one in opened}  # type: ignore[union-attr]
    assert list(found)[:3] == ["manifest.json", "manifest.sig.1", "manifest.sig.2"]
    assert {path: found[path] for path in PAPERS} == PAPERS


@given(
    st.one_of(
        st.text(st.characters(exclude_categories=["C"], exclude_characters="\\"), min_size=1),
        st.from_regex(r"[a-z]{1,9}(?:/[a-z]{1,9}){5,12}", fullmatch=True),
    ),
    st.one_of(st.integers(0, 8**11 - 1), st.integers(8**11, 1 << 50)),
)
def test_a_header_says_the_name_and_the_size_to_other_tools(name: str, size: int) -> None:
    block = archive.header(name, size)
    assert len(block) % archive.BLOCK == 0
    with tarfile.open(fileobj=BytesIO(block + bytes(1024)), mode="r|") as opened:
        member = opened.next()
    assert member is not None
    assert (member.name, member.size) == (name.rstrip("/") or name, size)
    assert member.isreg()


def test_one_flipped_bit_anywhere_is_refused() -> None:
    for position in range(0, len(WHOLE), 7):  # which meets every place in a block of 512
        altered = bytearray(WHOLE)
        altered[position] ^= 1 << (position * 5 % 8)
        with pytest.raises((Tampered, Invalid)):
            read(bytes(altered))


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 600, 3000, -1, -512, -1024, -1025, -2000])
def test_a_bundle_that_was_cut_is_refused(cut: int) -> None:
    with pytest.raises(Tampered, match="ends too early"):
        read(WHOLE[:cut])


@pytest.mark.parametrize("more", [b"\0", bytes(512), b"x" * 512, a_member("policies/x", b"x")])
def test_a_bundle_that_goes_on_is_refused(more: bytes) -> None:
    with pytest.raises(Tampered, match="goes on"):
        read(WHOLE + more)


def arranged(name: str) -> list[bytes]:
    one, two, three = the_members()
    return {
        "missing": [one, two],
        "extra": [one, two, three, a_member("policies/x.cedar", b"")],
        "reordered": [two, one, three],
        "doubled": [one, one, two, three],
        "renamed": [a_member("documents/notes/b.txt", PAPERS["documents/notes/a.txt"]), two, three],
    }[name]


@pytest.mark.parametrize("how", ["missing", "extra", "reordered", "doubled", "renamed"])
def test_members_are_those_of_the_manifest_in_its_order(how: str) -> None:
    with pytest.raises(Tampered, match="not as it was made"):
        read(a_bundle(*the_head(), *arranged(how)))


@pytest.mark.parametrize(
    "kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"L", b"S", b"g", b"\0"]
)
def test_links_devices_and_folders_are_refused(kind: bytes) -> None:
    one, two, three = the_members()
    block = bytearray(one[:512])
    block[156:157] = kind
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    with pytest.raises(Tampered, match="stands something else"):
        read(a_bundle(*the_head(), bytes(block) + one[512:], two, three))


@pytest.mark.parametrize("more", [1, -1, 512])
def test_a_member_of_another_size_than_the_manifest_says_is_refused(more: int) -> None:
    path = "documents/notes/a.txt"
    content = PAPERS[path]
    longer = content + b"x" * more if more > 0 else content[:more]
    papers = {**PAPERS, path: longer}
    with pytest.raises(Tampered):
        read(a_bundle(*the_head(), *the_members(papers)))


def test_an_altered_member_with_the_right_size_is_refused() -> None:
    papers = {**PAPERS, "documents/notes/a.txt": b"The dog tax is 50 euros.\n"}
    with pytest.raises(Tampered, match="was altered"):
        read(a_bundle(*the_head(), *the_members(papers)))


def test_one_signature_is_not_enough() -> None:
    with pytest.raises(Tampered, match=r"manifest\.sig\.2 is missing"):
        read(a_bundle(*the_head(keys=[ANNA]), *the_members()))


def test_two_signatures_by_one_key_are_refused() -> None:
    with pytest.raises(Refused, match="by one key"):
        read(a_bundle(*the_head(keys=[ANNA, ANNA]), *the_members()))


@pytest.mark.parametrize("keys", [[BOB, ANNA], [ANNA, EVE], [BOB, EVE]])
def test_signatures_by_other_keys_than_it_names_are_refused(keys: list[object]) -> None:
    with pytest.raises(Tampered, match="other keys"):
        read(a_bundle(*the_head(keys=keys), *the_members()))  # type: ignore[arg-type]


def test_signatures_of_another_manifest_are_refused() -> None:
    other = a_manifest(sequence=8).digest()
    with pytest.raises(Tampered, match="does not belong"):
        read(a_bundle(*the_head(signed=other), *the_members()))


@pytest.mark.parametrize(
    "junk", [b"", b"PK\x03\x04" + bytes(600), bytes(2048), b"%PDF-1.7" + b"x" * 5000]
)
def test_what_is_no_bundle_is_said_to_be_none(junk: bytes) -> None:
    with pytest.raises((Invalid, Tampered)):
        read(junk)


def test_a_manifest_beyond_all_measure_is_not_read() -> None:
    block = archive.header("manifest.json", 1 << 30)
    with pytest.raises(Invalid, match="not a bundle"):
        read(block + bytes(4096))


def test_a_signature_has_one_spelling() -> None:
    raw = ANNA.sign("sha256:" + "0" * 64).canonical()
    assert len(raw) == SIGNATURE_SIZE
    assert Signature.parse(raw).canonical() == raw
    for wrong in (raw[:-1], raw + b" ", raw.replace(b'"v":1', b'"v":2'), b"{}", b"\xff"):
        with pytest.raises(Tampered):
            Signature.parse(wrong)


class _Drip:
    """A pipe that gives a few bytes at a time, and cannot be rewound."""

    def __init__(self, content: bytes) -> None:
        self._content = BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, 7))


def test_a_bundle_is_read_from_a_slow_pipe() -> None:
    reader = Reader(_Drip(WHOLE))  # type: ignore[arg-type]
    manifest = reader.seal().open()
    read_back = {one.path: b"".join(reader.member(one)) for one in manifest.contents}
    reader.end()
    assert read_back == PAPERS


def test_a_member_that_the_manifest_gives_no_room_for_is_not_believed() -> None:
    content = a_content("documents/notes/a.txt", b"abc", size=1 << 40)
    raw = a_manifest([content]).canonical()
    with pytest.raises(CasemateError):
        read(a_bundle(*the_head(raw), a_member("documents/notes/a.txt", b"abc")))
