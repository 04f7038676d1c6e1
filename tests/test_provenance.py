from __future__ import annotations

import json
import struct
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepfake_detect.errors import OptionError
from deepfake_detect.provenance import Provenance, has_credentials, read_provenance

ACTIONS = [
    {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
        "softwareAgent": {"name": "Camera", "version": "7"},
        "when": "2026-01-02T03:04:05Z",
    },
    {"action": "c2pa.trimmed", "description": "the first second"},
    {"action": "org.example.waved"},
]
MANIFEST: dict[str, Any] = {
    "claim_generator_info": [{"name": "Test Studio", "version": "3"}],
    "title": "a demo",
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": ACTIONS}}],
}


class Notary:
    """A certificate authority and a signer of its own, made for the test."""

    def __init__(self) -> None:
        reason = "c2pa-python and cryptography, of the extra provenance, are not installed"
        self.c2pa = pytest.importorskip("c2pa", reason=reason)
        pytest.importorskip("cryptography", reason=reason)
        from cryptography.hazmat.primitives.asymmetric import ec

        self._root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = self._certificate("Test Root", is_root=True)
        self._chain = self._certificate("Test Signer", is_root=False) + self.root

    def _certificate(self, name: str, *, is_root: bool) -> bytes:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        key = self._root_key if is_root else self._key
        now = datetime.now(timezone.utc)
        signs = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment"), False)
        signs |= dict.fromkeys(("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
        builder = (
            x509.CertificateBuilder(_name("Test Root"), _name(name), key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, **signs), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root_key.public_key()),
                critical=False,
            )
        )
        if not is_root:
            for_mail = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(for_mail, critical=False)
        signed = builder.sign(self._root_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def sign(self, source: Path, out: Path, *, ingredient: Path | None = None, **changes: Any) -> Path:
        """Write a copy of a file with content credentials of the test's own signer."""
        from cryptography.hazmat.primitives import serialization

        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signer = self.c2pa.Signer.from_info(self.c2pa.C2paSignerInfo(b"es256", self._chain, key, None))
        with self.c2pa.Builder({**MANIFEST, **changes}) as builder:
            if ingredient is not None:
                with open(ingredient, "rb") as file:
                    facts = {"title": ingredient.name, "relationship": "parentOf"}
                    builder.add_ingredient(facts, "video/mp4", file)
            builder.sign_file(str(source), str(out), signer)
        return out


def _name(common_name: str) -> Any:
    from cryptography import x509

    values = {
        x509.NameOID.COUNTRY_NAME: "GB",
        x509.NameOID.ORGANIZATION_NAME: "Test Newsroom",
        x509.NameOID.COMMON_NAME: common_name,
    }
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in values.items()])


@pytest.fixture(scope="module")
def notary() -> Notary:
    return Notary()


@pytest.fixture(scope="module")
def signed(notary: Notary, portrait_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return notary.sign(portrait_clip, tmp_path_factory.mktemp("signed") / "signed.mp4")


def test_who_signed_what_with_what_and_whether_it_holds(signed: Path) -> None:
    found = read_provenance(signed)
    assert found is not None
    assert (found.signer, found.issuer, found.tool, found.title) == (
        *("Test Signer", "Test Newsroom", "Test Studio 3", "a demo"),
    )
    assert (found.signature_holds, found.is_unchanged, found.problems) == (True, True, ())
    assert (found.signed_time, found.is_signer_trusted) == (None, None)
    assert found.actions == (
        "created, taken with a camera with Camera 7 at 2026-01-02T03:04:05Z",
        "trimmed: the first second",
        "org.example.waved",
    )
    assert found.summary() == (
        "signed by Test Signer (Test Newsroom) with Test Studio 3; signature valid; file unchanged since; "
        "signer not checked against a trust list"
    )


def test_the_values_are_json(signed: Path) -> None:
    found = read_provenance(signed)
    assert found is not None
    values = json.loads(json.dumps(found.to_dict()))
    assert values["signer"] == "Test Signer"
    assert values["actions"] == list(found.actions)
    assert values["summary"] == found.summary()


def changed_copy(signed: Path, out: Path, before: bytes, after: bytes) -> Path:
    content = signed.read_bytes()
    assert before in content
    out.write_bytes(content.replace(before, after, 1))
    return out


def test_a_file_changed_since_is_told(signed: Path, tmp_path: Path) -> None:
    content = bytearray(signed.read_bytes())
    content[content.rindex(b"mdat") + 400] ^= 0xFF
    (tmp_path / "changed.mp4").write_bytes(content)
    found = read_provenance(tmp_path / "changed.mp4")
    assert found is not None
    assert (found.signature_holds, found.is_unchanged) == (True, False)
    assert "signature valid; file changed since" in found.summary()
    assert "mismatch" in found.problems[0]


@pytest.mark.parametrize("words", [b"Test Studio", b"the first second"], ids=["claim", "assertion"])
def test_credentials_changed_since_vouch_for_nothing(words: bytes, signed: Path, tmp_path: Path) -> None:
    found = read_provenance(changed_copy(signed, tmp_path / "c.mp4", words, words.swapcase()))
    assert found is not None
    assert (found.signature_holds, found.is_unchanged) == (False, False)
    assert found.summary().startswith("invalid Content Credentials: ")


def test_credentials_of_garbage_are_there_and_do_not_hold(signed: Path, tmp_path: Path) -> None:
    content = bytearray(signed.read_bytes())
    start = content.index(b"jumd")
    content[start : start + 300] = bytes(300)
    (tmp_path / "g.mp4").write_bytes(content)
    found = read_provenance(tmp_path / "g.mp4")
    assert found is not None
    assert (found.signer, found.signature_holds) == (None, False)
    assert found.problems[0].startswith("the credentials cannot be read (")


@pytest.mark.parametrize(
    "content", [b"", b"c2pa", b"jumbc2pa" * 99, b"\xff\xd8\xff\xeb\0\1", b"RIFF    WEBP"]
)
def test_garbage_without_credentials_has_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.mp4").write_bytes(content)
    assert read_provenance(tmp_path / "file.mp4") is None


def test_boxes_that_lead_nowhere_end_the_walk(portrait_clip: Path, tmp_path: Path) -> None:
    whole = portrait_clip.read_bytes()
    for number, tail in enumerate(
        (
            *(b"\0\0\0\0mdat", b"\0\0\0\1mdat\0", b"\0\0\0\4uuid", b"\xff\xff\xff\xffmdat"),
            *(struct.pack(">I4sQ", 1, b"free", size) for size in (2**64 - 1, 2**63 - 1 - 30000, 2**62)),
        )
    ):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(whole + tail)
        assert not has_credentials(path)


def test_a_file_without_credentials_has_none(portrait_clip: Path) -> None:
    assert not has_credentials(portrait_clip)
    assert read_provenance(portrait_clip) is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_pictures_carry_credentials_too(
    suffix: str, notary: Notary, portrait: np.ndarray, tmp_path: Path
) -> None:
    plain = tmp_path / f"plain.{suffix}"
    cv2.imwrite(str(plain), portrait[:64, :64])
    assert not has_credentials(plain)
    notary.sign(plain, tmp_path / f"signed.{suffix}")
    nameless = (tmp_path / f"signed.{suffix}").rename(tmp_path / "signed")  # by content, not by name
    found = read_provenance(nameless)
    assert found is not None
    assert found.is_unchanged


def test_the_signer_is_looked_up_in_a_list_of_trusted_ones(
    notary: Notary, signed: Path, tmp_path: Path
) -> None:
    for name, root, words in (("own", notary.root, "is in the"), ("other", Notary().root, "is not in the")):
        (tmp_path / f"{name}.pem").write_bytes(root)
        found = read_provenance(signed, trust_list=tmp_path / f"{name}.pem")
        assert found is not None
        assert found.is_signer_trusted == (name == "own")
        assert found.summary().endswith(f"file unchanged since; signer {words} trust list")


def test_a_trust_list_that_is_none_is_refused(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="trust_list: .*absent.pem"):
        read_provenance(signed, trust_list=tmp_path / "absent.pem")


def test_what_it_was_made_from_is_told(
    notary: Notary, signed: Path, portrait_clip: Path, tmp_path: Path
) -> None:
    child = notary.sign(portrait_clip, tmp_path / "child.mp4", ingredient=signed)
    found = read_provenance(child)
    assert found is not None
    assert found.ingredients == (
        "signed.mp4 (source of this file); its own credentials were valid when it was used",
    )
    orphan = notary.sign(portrait_clip, tmp_path / "orphan.mp4", ingredient=portrait_clip)
    found = read_provenance(orphan)
    assert found is not None
    assert found.ingredients[0].endswith("without credentials of its own")


def test_words_of_a_file_come_as_one_short_printable_line(
    notary: Notary, portrait_clip: Path, tmp_path: Path
) -> None:
    title = "\x1b[31mred\nfake: 0.0" + "x" * 500
    found = read_provenance(notary.sign(portrait_clip, tmp_path / "odd.mp4", title=title))
    assert found is not None
    assert found.title is not None
    assert found.title.startswith("[31mred fake: 0.0x")
    assert found.title.isprintable()
    assert len(found.title) < 210


def test_without_the_extra_credentials_are_seen_and_the_remedy_told(
    portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(40)
    marked = tmp_path / "marked.mp4"
    marked.write_bytes(portrait_clip.read_bytes() + (8 + len(box)).to_bytes(4, "big") + b"uuid" + box)
    assert has_credentials(marked)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(
        OptionError, match=r"marked.mp4: has Content Credentials .* install the extra 'provenance'"
    ):
        read_provenance(marked)
    assert read_provenance(portrait_clip) is None


def test_a_signer_without_a_name_is_said_to_be_so() -> None:
    nameless = Provenance(None, None, "2026-01-01", None, None, True, True, None, (), (), ())
    assert nameless.summary().startswith("signed by an unnamed signer at 2026-01-01; signature valid")
