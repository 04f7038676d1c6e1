"""Content credentials (C2PA): what a file's maker signed about it, kept apart from any verdict.

A signature says who vouches for a file and whether it was changed since. It does not say that the
picture shows what happened: a forgery can be signed. And most honest files carry none.

The credentials are looked for in MP4, MOV and their kin, AVI, JPEG, PNG and WebP, and read by
c2pa-python, the optional extra ``provenance``. Nothing is fetched: credentials that are kept on a
server, revocation lists and lists of trusted signers stay where they are.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from deepfake_detect.errors import OptionError
from deepfake_detect.io.media import container_kind

_MP4_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
# Of the containers that can carry credentials, as c2pa calls them.
_MEDIA_TYPES = {
    "mp4": "video/mp4",
    "avi": "video/avi",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
_JPEG_START_OF_SCAN, _JPEG_APP11 = 0xDA, 0xEB
_MOST_PARTS = 100_000  # of a file that is walked: more means that it was made to keep us busy
_LONGEST_TEXT = 200
_CONTENT_HASHES = ("assertion.dataHash.", "assertion.bmffHash.", "assertion.boxesHash.")
_TRUSTED, _UNTRUSTED = "signingCredential.trusted", "signingCredential.untrusted"
_ACTIONS = {
    "c2pa.created": "created",
    "c2pa.opened": "opened",
    "c2pa.edited": "edited",
    "c2pa.cropped": "cropped",
    "c2pa.resized": "resized",
    "c2pa.trimmed": "trimmed",
    "c2pa.dubbed": "given another voice",
    "c2pa.filtered": "filtered",
    "c2pa.color_adjustments": "colors adjusted",
    "c2pa.drawing": "drawn on",
    "c2pa.placed": "another file placed in it",
    "c2pa.removed": "a part removed",
    "c2pa.orientation": "turned",
    "c2pa.transcoded": "encoded anew",
    "c2pa.converted": "converted to another format",
    "c2pa.repackaged": "put into another container",
    "c2pa.redacted": "credentials redacted",
    "c2pa.watermarked": "watermarked",
    "c2pa.published": "published",
    "c2pa.unknown": "changed in a way that is not told",
}
_ORIGINS = {
    "trainedAlgorithmicMedia": "made by generative AI",
    "compositeWithTrainedAlgorithmicMedia": "partly made by generative AI",
    "algorithmicMedia": "made by an algorithm",
    "digitalCapture": "taken with a camera",
    "computationalCapture": "taken with a camera and computed from several shots",
    "screenCapture": "taken from a screen",
    "digitalCreation": "made in software",
    "humanEdits": "edited by people",
    "compositeCapture": "put together from several shots",
    "composite": "put together from several sources",
}
_RELATIONS = {"parentOf": "the file this was made from", "componentOf": "a part of it", "inputTo": "an input"}


@dataclass(frozen=True)
class Provenance:
    """What the content credentials of a file say, in the words of whoever signed them.

    Attributes:
        signer: Name in the signing certificate; ``None`` when it holds none.
        issuer: Organization in the certificate, or ``None``.
        signed_time: When a time-stamping authority saw the signature, as ISO 8601 text; ``None``
            when none did.
        tool: Program that wrote the credentials, or ``None``.
        title: What the signer calls the file, or ``None``.
        signature_holds: Whether the credentials are as they were signed.
        is_unchanged: Whether the signature holds and the file's content is what was signed.
        is_signer_trusted: Whether the signer is in the list of trusted ones; ``None`` when no list
            was given.
        actions: What was done to the file, by its signer's account, oldest first.
        ingredients: Files it was made from.
        problems: What does not hold; empty when all does.
    """

    signer: str | None
    issuer: str | None
    signed_time: str | None
    tool: str | None
    title: str | None
    signature_holds: bool
    is_unchanged: bool
    is_signer_trusted: bool | None
    actions: tuple[str, ...]
    ingredients: tuple[str, ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them, with :meth:`summary` among them."""
        lists = {name: list(getattr(self, name)) for name in ("actions", "ingredients", "problems")}
        return {**asdict(self), **lists, "summary": self.summary()}

    def rows(self) -> list[tuple[str, str]]:
        """Return what is known as rows of name and value, for a report."""
        told = [
            ("in short", self.summary()),
            ("title", self.title),
            ("signed by", self.signer),
            ("issuer", self.issuer),
            ("signed at", self.signed_time),
            ("written with", self.tool),
            ("what was done", "; ".join(self.actions)),
            ("made from", "; ".join(self.ingredients)),
            ("does not hold", "; ".join(self.problems)),
        ]
        return [(name, value) for name, value in told if value]

    def summary(self) -> str:
        """Return who signed, whether it holds and whether the file was changed, in one line.

        Example:
            >>> Provenance("A", "B", None, "Cam 1", None, True, False, True, (), (), ()).summary()
            'signed by A (B) with Cam 1; signature holds; file changed since; signer is in the trust list'
        """
        if not self.signature_holds:
            return f"content credentials that do not hold: {'; '.join(self.problems)}"
        who = self.signer or "somebody who gives no name"
        who += f" ({self.issuer})" if self.issuer and self.issuer != self.signer else ""
        when = f" at {self.signed_time}" if self.signed_time else ""
        tool = f" with {self.tool}" if self.tool else ""
        changed = "file unchanged since" if self.is_unchanged else "file changed since"
        trust = {
            None: "signer not checked against a trust list",
            True: "signer is in the trust list",
            False: "signer is not in the trust list",
        }[self.is_signer_trusted]
        return f"signed by {who}{when}{tool}; signature holds; {changed}; {trust}"


def has_credentials(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file carries content credentials, valid or not, by a walk over its parts.

    Nothing is decoded and the extra is not needed. A file of another kind than those named above
    counts as carrying none.

    Raises:
        OSError: The file cannot be read.

    Example:
        >>> has_credentials("examples/demo.mp4")
        False
    """
    return _kind_with_credentials(path) is not None


def read_provenance(
    path: str | os.PathLike[str], *, trust_list: str | os.PathLike[str] | None = None
) -> Provenance | None:
    """Read and check a file's content credentials (C2PA specification 2.x).

    Args:
        path: A video or picture.
        trust_list: PEM file of the certificates whose signatures, and of those that they vouch for,
            are trusted. None is shipped.

    Returns:
        What the credentials say; ``None`` when the file carries none. Credentials that cannot be
        read come as a signature that does not hold, with the reason among the problems.

    Raises:
        OptionError: The file carries credentials and the extra ``provenance`` is not installed; or
            the trust list cannot be used.
        OSError: The file cannot be read.

    Example:
        >>> read_provenance("examples/demo.mp4") is None
        True
    """
    kind = _kind_with_credentials(path)
    if kind is None:
        return None
    try:
        import c2pa
    except ImportError as error:
        raise OptionError(
            path,
            "carries content credentials (C2PA), and c2pa-python, which reads them, is not installed",
            "pip install 'deepfake_detect[provenance]'",
        ) from error
    context = _context(c2pa, trust_list)
    try:
        with open(path, "rb") as file, c2pa.Reader(kind, file, context=context) as reader:
            found = json.loads(reader.json())
    except c2pa.C2paError as error:
        return _unreadable(error)
    return _provenance(found, is_trust_checked=trust_list is not None)


def _context(c2pa: Any, trust_list: str | os.PathLike[str] | None) -> Any:
    settings: dict[str, Any] = {
        "verify": {
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
            "verify_trust": trust_list is not None,
        }
    }
    if trust_list is None:
        return c2pa.Context.from_dict(settings)
    try:
        settings["trust"] = {"trust_anchors": Path(trust_list).read_text("ascii")}
        return c2pa.Context.from_dict(settings)
    except (OSError, ValueError, c2pa.C2paError) as error:
        raise OptionError(
            "trust_list", f"{trust_list} cannot be used ({error})", "pass a PEM file"
        ) from error


def _unreadable(error: Exception) -> Provenance:
    problem = f"the credentials cannot be read ({_text(str(error))})"
    return Provenance(None, None, None, None, None, False, False, None, (), (), (problem,))


def _provenance(found: Mapping[str, Any], *, is_trust_checked: bool) -> Provenance:
    manifest = _dict(_dict(found.get("manifests")).get(str(found.get("active_manifest"))))
    signature = _dict(manifest.get("signature_info"))
    checks = _dict(_dict(found.get("validation_results")).get("activeManifest"))
    passed = {str(one.get("code")) for one in _dicts(checks.get("success"))}
    failed = _failures(checks)
    is_sound = "claimSignature.validated" in passed and all(
        code.startswith(_CONTENT_HASHES) for code in failed
    )
    is_changed = any(code.startswith(_CONTENT_HASHES) for code in failed)
    is_bound = any(code.startswith(_CONTENT_HASHES) for code in passed)
    return Provenance(
        signer=_text(signature.get("common_name")),
        issuer=_text(signature.get("issuer")),
        signed_time=_text(signature.get("time")),
        tool=_tool(manifest),
        title=_text(manifest.get("title")),
        signature_holds=is_sound,
        is_unchanged=is_sound and is_bound and not is_changed,
        is_signer_trusted=_TRUSTED in passed if is_trust_checked else None,
        actions=tuple(_actions(manifest)),
        ingredients=tuple(_ingredient(one) for one in _dicts(manifest.get("ingredients"))),
        problems=tuple(_text(words) or code for code, words in failed.items()),
    )


def _failures(checks: Mapping[str, Any]) -> dict[str, Any]:
    """Return what failed and why; whether the signer is trusted is another question."""
    failures = {str(one.get("code")): one.get("explanation") for one in _dicts(checks.get("failure"))}
    return {code: words for code, words in failures.items() if code != _UNTRUSTED}


def _tool(manifest: Mapping[str, Any]) -> str | None:
    infos = _dicts(manifest.get("claim_generator_info"))
    return _named(infos[0]) if infos else _text(manifest.get("claim_generator"))


def _named(info: Any) -> str | None:
    """Return name and version of a program, which older credentials give as one text."""
    if isinstance(info, dict):
        return _text(" ".join(str(info[key]) for key in ("name", "version") if info.get(key)))
    return _text(info)


def _actions(manifest: Mapping[str, Any]) -> Iterator[str]:
    for assertion in _dicts(manifest.get("assertions")):
        if str(assertion.get("label")).startswith("c2pa.actions"):
            for action in _dicts(_dict(assertion.get("data")).get("actions")):
                yield _action(action)


def _action(action: Mapping[str, Any]) -> str:
    words = _ACTIONS.get(str(action.get("action"))) or _text(action.get("action")) or "something done"
    origin = str(action.get("digitalSourceType") or "").rpartition("/")[2]
    words += f", {_ORIGINS.get(origin, _text(origin))}" if origin else ""
    tool, when, why = (
        _named(action.get("softwareAgent")),
        _text(action.get("when")),
        _text(action.get("description")),
    )
    words += f" with {tool}" if tool else ""
    words += f" at {when}" if when else ""
    return words + (f": {why}" if why else "")


def _ingredient(ingredient: Mapping[str, Any]) -> str:
    relation = _RELATIONS.get(str(ingredient.get("relationship")), "an ingredient")
    name = _text(ingredient.get("title")) or "a file without a title"
    if not ingredient.get("active_manifest"):
        return f"{name} ({relation}), without credentials of its own"
    checks = _dict(_dict(ingredient.get("validation_results")).get("activeManifest"))
    state = "did not hold" if _failures(checks) or not checks else "held"
    return f"{name} ({relation}), whose own credentials {state} when it was used"


def _text(value: Any) -> str | None:
    """Return text of a file as one short printable line: whoever wrote it may mean harm."""
    if value is None:
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return (line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "…") or None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _kind_with_credentials(path: str | os.PathLike[str]) -> str | None:
    """Return the media type of a file that carries credentials."""
    with open(path, "rb") as file:
        kind = container_kind(file.read(12))
        file.seek(0)
        if kind is None or kind.container not in _MEDIA_TYPES:
            return None
        if kind.container == "mp4":
            is_found = any(one == _MP4_BOX for one in _mp4_users(file))
        elif kind.container == "jpeg":
            is_found = _jpeg_has_credentials(file)
        elif kind.container == "png":
            is_found = b"caBX" in _chunks(file, is_riff=False)
        else:
            is_found = b"C2PA" in _chunks(file, is_riff=True)
    return _MEDIA_TYPES[kind.container] if is_found else None


def _mp4_users(file: BinaryIO) -> Iterator[bytes]:
    """Yield the identifiers of an MP4 file's own boxes on its top level."""
    for _ in range(_MOST_PARTS):
        start, header = file.tell(), file.read(8)
        if len(header) < 8:
            return
        size, name = struct.unpack(">I4s", header)
        if size == 1:
            long_size = file.read(8)
            if len(long_size) < 8:
                return
            (size,) = struct.unpack(">Q", long_size)
        if name == b"uuid":
            yield file.read(16)
        if size < 8:  # 0: it reaches to the end of the file
            return
        file.seek(start + size)


def _jpeg_has_credentials(file: BinaryIO) -> bool:
    file.seek(2)
    for _ in range(_MOST_PARTS):
        header = file.read(4)
        if len(header) < 4 or header[0] != 0xFF or header[1] == _JPEG_START_OF_SCAN:
            return False
        content = file.read(int.from_bytes(header[2:], "big") - 2) if header[2:] > b"\0\1" else b""
        if header[1] == _JPEG_APP11 and b"jumb" in content and b"c2pa" in content:
            return True
    return False


def _chunks(file: BinaryIO, *, is_riff: bool) -> Iterator[bytes]:
    """Yield the names of a RIFF file's chunks (name, length), or of a PNG's (length, name)."""
    file.seek(12 if is_riff else 8)
    for _ in range(_MOST_PARTS):
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = (header[:4], header[4:]) if is_riff else (header[4:], header[:4])
        yield name
        size = int.from_bytes(length, "little" if is_riff else "big")
        # RIFF pads to whole words, PNG puts a checksum behind.
        file.seek(size + (size % 2 if is_riff else 4), os.SEEK_CUR)
