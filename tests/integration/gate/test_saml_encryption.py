"""SAML answers that only we can read, and what somebody could hide in one."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from lxml import etree
from saml_liar import ENC, ENC11, NAMES, a_signer, encrypted
from saml_stage import BASE, Stage, a_stage, one
from test_saml_lies import WRAPPINGS, evil

from casemate.errors import Invalid
from casemate.gate.saml.own_key import OwnKey
from casemate.gate.sign_in_refusal import Untrusted
from casemate.store.tables import principals

KEYS = 'keys = ["own.pem", "old.pem"]\n'
GCM = f"{ENC11}aes256-gcm"


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("saml"), KEYS) as made:
        yield made


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """The one stage of these tests, where nothing is left of the lie before."""
    theatre.reset()
    return theatre


def hides(root: Any, to: str = "own", **how: Any) -> None:
    """Encrypt the assertion of ``root`` in its place."""
    found = one(root, "saml:Assertion")
    root.replace(found, encrypted(etree.tostring(found), a_signer(to), **how))


@pytest.mark.parametrize("to", ["own", "old"])
def test_an_encrypted_answer_signs_in_with_each_key_of_ours(stage: Stage, to: str) -> None:
    stage.liar.after = lambda root: hides(root, to)
    assert stage.caller(stage.sign_in()).principal.name == "Claire"


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_every_cipher_that_our_metadata_name_is_read(stage: Stage, bits: int) -> None:
    cipher = f"{ENC11}aes{bits}-gcm"
    assert cipher.encode() in stage.saml.description("state", BASE)
    stage.liar.after = lambda root: hides(root, cipher=cipher)
    assert stage.sign_in()


def test_the_newer_oaep_is_read_too(stage: Stage) -> None:
    how = {"wrapping": f"{ENC11}rsa-oaep", "mask": f"{ENC11}mgf1sha256", "digest": f"{ENC}sha256"}
    stage.liar.after = lambda root: hides(root, **how)
    assert stage.sign_in()


WEAK = {
    "content in blocks": {"cipher": f"{ENC}aes256-cbc"},
    "content in old blocks": {"cipher": f"{ENC}tripledes-cbc"},
    "a key with old padding": {"wrapping": f"{ENC}rsa-1_5"},
}


@pytest.mark.parametrize("weak", WEAK)
def test_ciphers_that_notice_no_change_are_not_taken(stage: Stage, weak: str) -> None:
    stage.liar.after = lambda root: hides(root, **WEAK[weak])
    with pytest.raises(Untrusted, match="cipher that is not taken"):
        stage.sign_in()


def _flipped(raw: bytes) -> bytes:
    return raw[:40] + bytes([raw[40] ^ 1]) + raw[41:]


def _remove(element: Any) -> None:
    element.getparent().remove(element)


CLOSED: dict[str, Callable[[Any], None]] = {
    "for somebody else": lambda root: hides(root, "stranger"),
    "changed on the way": lambda root: hides(root, spoil=_flipped),
    "cut off": lambda root: hides(root, spoil=lambda raw: raw[:20]),
    "a key of another length": lambda root: (
        hides(root, cipher=f"{ENC11}aes128-gcm")
        or one(root, f".//{{{ENC}}}EncryptedData/{{{ENC}}}EncryptionMethod").set("Algorithm", GCM)
    ),
    "a key that is none": lambda root: setattr(
        one(root, f".//{{{ENC}}}EncryptedKey//{{{ENC}}}CipherValue"), "text", "AAAA"
    ),
    "no key at all": lambda root: _remove(one(root, f".//{{{ENC}}}EncryptedKey")),
}


@pytest.mark.parametrize("how", CLOSED)
def test_what_cannot_be_decrypted_is_refused_alike(stage: Stage, how: str) -> None:
    def after(root: Any) -> None:
        if how.startswith(("a key that", "no key")):
            hides(root)
        CLOSED[how](root)

    stage.liar.after = after
    with pytest.raises(Untrusted) as caught:
        stage.sign_in()
    assert "cannot be decrypted with a key of ours" in caught.value.what


# Nothing is trusted because it was encrypted: everybody has our certificate


def test_an_encrypted_assertion_needs_a_signature_like_any_other(stage: Stage) -> None:
    def after(root: Any) -> None:
        found = one(root, "saml:Assertion")
        found.remove(one(found, "{http://www.w3.org/2000/09/xmldsig#}Signature"))
        hides(root)

    stage.liar.after = after
    with pytest.raises(Untrusted, match="not signed"):
        stage.sign_in()


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_a_signature_that_is_wrapped_and_then_encrypted_lends_nothing(
    stage: Stage, wrap: Callable[[Any, Any, Any], None]
) -> None:
    def after(root: Any) -> None:
        signed = one(root, "saml:Assertion")
        wrap(root, signed, evil(signed))
        for found in root.findall("saml:Assertion", NAMES):
            root.replace(found, encrypted(etree.tostring(found), a_signer("own")))

    stage.liar.after = after
    with pytest.raises(Untrusted):
        stage.sign_in()
    nobody_got_more(stage)


def _hidden(content: bytes) -> Any:
    return encrypted(content, a_signer("own"))


def _plain_evil_beside(root: Any, signed: Any, lie: Any) -> None:
    root.replace(signed, _hidden(etree.tostring(signed)))
    root.append(lie)


def _hidden_evil_beside(root: Any, signed: Any, lie: Any) -> None:
    root.append(_hidden(etree.tostring(lie)))


def _both_hidden(root: Any, signed: Any, lie: Any) -> None:
    root.replace(signed, _hidden(etree.tostring(signed)))
    root.insert(0, _hidden(etree.tostring(lie)))


def _two_in_one(root: Any, signed: Any, lie: Any) -> None:
    root.replace(signed, _hidden(etree.tostring(lie) + etree.tostring(signed)))


def _in_extensions(root: Any, signed: Any, lie: Any) -> None:
    hidden = etree.Element("{urn:oasis:names:tc:SAML:2.0:protocol}Extensions")
    hidden.append(_hidden(etree.tostring(signed)))
    root.replace(signed, lie)
    root.insert(1, hidden)


def _out_of_its_frame(root: Any, signed: Any, lie: Any) -> None:
    broken = b"</around><around>" + etree.tostring(lie)
    root.replace(signed, _hidden(broken))


def _twice_hidden(root: Any, signed: Any, lie: Any) -> None:
    inner = _hidden(etree.tostring(signed))
    root.replace(signed, _hidden(etree.tostring(inner)))


def _with_a_type(root: Any, signed: Any, lie: Any) -> None:
    root.replace(signed, _hidden(b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>&e;"))


@pytest.mark.parametrize(
    "hide",
    [
        _plain_evil_beside, _hidden_evil_beside, _both_hidden, _two_in_one, _in_extensions,
        _out_of_its_frame, _twice_hidden, _with_a_type,
    ],
)  # fmt: skip
def test_nothing_is_hidden_beside_what_was_signed(
    stage: Stage, hide: Callable[[Any, Any, Any], None]
) -> None:
    def after(root: Any) -> None:
        signed = one(root, "saml:Assertion")
        hide(root, signed, evil(copy.deepcopy(signed)))

    stage.liar.after = after
    with pytest.raises(Untrusted):
        stage.sign_in()
    nobody_got_more(stage)


def nobody_got_more(stage: Stage) -> None:
    with stage.world.database.read() as connection:
        found = connection.execute(principals.select()).all()
    assert not [row for row in found if row.clearance == "lu:secret"]


# What is agreed


def test_where_it_was_agreed_an_answer_in_the_open_is_refused(tmp_path: Path) -> None:
    with a_stage(tmp_path, KEYS + "encrypted_only = true\n") as stage:
        stage.reset()
        with pytest.raises(Untrusted, match="not encrypted, as was agreed"):
            stage.sign_in()
        stage.liar.after = hides
        assert stage.sign_in()


def test_without_a_key_of_ours_an_encrypted_answer_is_refused_by_name(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        stage.reset()
        stage.liar.after = hides
        with pytest.raises(Untrusted, match="no key for that is declared"):
            stage.sign_in()
        assert b'AuthnRequestsSigned="false"' in stage.saml.description("state", BASE)


def test_what_we_ask_is_signed_with_the_first_key_and_anybody_can_check_it(stage: Stage) -> None:
    query = urlsplit(stage.begin().address).query
    signed, _, _ = query.partition("&Signature=")
    parts = dict(parse_qsl(query))
    assert list(parts) == ["SAMLRequest", "SigAlg", "Signature"]
    public = a_signer("own").certificate.public_key()
    public.verify(  # type: ignore[union-attr,call-arg]
        base64.b64decode(parts["Signature"]), signed.encode(), PKCS1v15(), SHA256()
    )


def test_our_description_holds_certificates_and_no_key(stage: Stage) -> None:
    said = etree.fromstring(stage.saml.description("state", BASE))
    described = said.findall(".//{urn:oasis:names:tc:SAML:2.0:metadata}KeyDescriptor")
    assert [one.get("use") for one in described] == ["signing", "encryption", "encryption"]
    assert b"PRIVATE" not in etree.tostring(said)
    role = said[0]
    assert role.get("AuthnRequestsSigned") == "true"
    order = [etree.QName(child).localname for child in role]
    assert order == sorted(order, key=["KeyDescriptor", "SingleLogoutService", "NameIDFormat",
                                       "AssertionConsumerService"].index)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o600, "cannot be read"),
        (b"nothing", 0o600, "RSA key"),
        (b"", 0o604, "by everybody"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, content: bytes | None, mode: int, why: str
) -> None:
    file = tmp_path / "mine.pem"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(Invalid, match=why) as caught:
        OwnKey.load(file)
    assert "mine.pem" in caught.value.what


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    mine = a_signer("own").write(tmp_path / "a.pem")
    other = a_signer("old").write(tmp_path / "b.pem")
    mixed = tmp_path / "c.pem"
    key = mine.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    mixed.write_bytes(key + other.read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2])
    mixed.chmod(0o600)
    with pytest.raises(Invalid, match="not that of its key"):
        OwnKey.load(mixed)
    assert "PrivateKey" not in repr(OwnKey.load(mine))
