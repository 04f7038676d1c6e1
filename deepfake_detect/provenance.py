"""Content Credentials (C2PA): what the signer of a file states about it, separate from any verdict.

A signature shows who vouches for a file and whether it was changed since. It does not show that the
content is true: a forgery can be signed. And most genuine files have none.

Credentials are looked for in MP4, MOV and related formats, AVI, JPEG, PNG and WebP, and read by
c2pa-python, the optional extra ``provenance``. Nothing is downloaded: credentials stored on a server,
revocation lists and lists of trusted signers are not requested.
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
_MAX_PARTS = 100_000  # of a file; more are an attempt to waste time
_MAX_TEXT_LENGTH = 200
_CONTENT_HASHES = ("assertion.dataHash.", "assertion.bmffHash.", "assertion.boxesHash.")
_TRUSTED, _UNTRUSTED = "signingCredential.trusted", "signingCredential.untrusted"
_ACTIONS = {
    "c2pa.created": "created",
    "c2pa.opened": "opened",
    "c2pa.edited": "edited",
    "c2pa.cropped": "cropped",
    "c2pa.resized": "resized",
    "c2pa.trimmed": "trimmed",
    "c2pa.dubbed": "dubbed",
    "c2pa.filtered": "filtered",
    "c2pa.color_adjustments": "colors adjusted",
    "c2pa.drawing": "drawing added",
    "c2pa.placed": "another file inserted",
    "c2pa.removed": "part removed",
    "c2pa.orientation": "rotated",
    "c2pa.transcoded": "re-encoded",
    "c2pa.converted": "converted to another format",
    "c2pa.repackaged": "moved to another container",
    "c2pa.redacted": "credentials redacted",
    "c2pa.watermarked": "watermarked",
    "c2pa.published": "published",
    "c2pa.unknown": "changed in an unspecified way",
}
_ORIGINS = {
    "trainedAlgorithmicMedia": "made by generative AI",
    "compositeWithTrainedAlgorithmicMedia": "partly made by generative AI",
    "algorithmicMedia": "made by an algorithm",
    "digitalCapture": "taken with a camera",
    "computationalCapture": "taken with a camera and computed from several exposures",
    "screenCapture": "taken from a screen",
    "digitalCreation": "made in software",
    "humanEdits": "edited by people",
    "compositeCapture": "composed of several shots",
    "composite": "composed of several sources",
}
_RELATIONS = {"parentOf": "source of this file", "componentOf": "component of it", "inputTo": "input"}


@dataclass(frozen=True)
class Provenance:
    """Content Credentials of a file, as stated by their signer.

    Attributes:
        signer: Name in the signing certificate; ``None`` without one.
        issuer: Organization in the certificate, or ``None``.
        signed_time: Time of the signature by a time-stamping authority, as ISO 8601 text; ``None``
            without one.
        tool: Program that wrote the credentials, or ``None``.
        title: The signer's name for the file, or ``None``.
        signature_holds: Whether the credentials are valid, unchanged since they were signed.
        is_unchanged: Whether the signature is valid and the file's content is unchanged.
        is_signer_trusted: Whether the signer is in the list of trusted signers; ``None`` when no
            list was passed.
        actions: Edits of the file as stated by its signer, oldest first.
        ingredients: Files it was made from.
        problems: Failed checks; empty if all passed.
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
        """Return plain values for JSON, including :meth:`summary`."""
        lists = {name: list(getattr(self, name)) for name in ("actions", "ingredients", "problems")}
        return {**asdict(self), **lists, "summary": self.summary()}

    def rows(self) -> list[tuple[str, str]]:
        """Return the known values as rows of name and value, for a report."""
        rows = [
            ("summary", self.summary()),
            ("title", self.title),
            ("signed by", self.signer),
            ("issuer", self.issuer),
            ("signed at", self.signed_time),
            ("tool", self.tool),
            ("edits", "; ".join(self.actions)),
            ("made from", "; ".join(self.ingredients)),
            ("failed checks", "; ".join(self.problems)),
        ]
        return [(name, value) for name, value in rows if value]

    def summary(self) -> str:
        """Return signer, validity and whether the file was changed, in one line.

        Example:
            >>> Provenance("A", "B", None, "Cam 1", None, True, False, True, (), (), ()).summary()
            'signed by A (B) with Cam 1; signature valid; file changed since; signer is in the trust list'
        """
        if not self.signature_holds:
            return f"invalid Content Credentials: {'; '.join(self.problems)}"
        who = self.signer or "an unnamed signer"
        who += f" ({self.issuer})" if self.issuer and self.issuer != self.signer else ""
        when = f" at {self.signed_time}" if self.signed_time else ""
        tool = f" with {self.tool}" if self.tool else ""
        changed = "file unchanged since" if self.is_unchanged else "file changed since"
        trust = {
            None: "signer not checked against a trust list",
            True: "signer is in the trust list",
            False: "signer is not in the trust list",
        }[self.is_signer_trusted]
        return f"signed by {who}{when}{tool}; signature valid; {changed}; {trust}"


def has_credentials(path: str | os.PathLike[str]) -> bool:
    """Return whether a file has Content Credentials, valid or not, by walking its parts.

    Nothing is decoded and the extra is not needed. Files of other formats than those named above
    count as having none.

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
    """Read and check a file's Content Credentials (C2PA specification 2.x).

    Args:
        path: A video or image.
        trust_list: PEM file of certificates; their signatures, and those of certificates they
            issued, are trusted. None is included.

    Returns:
        The credentials; ``None`` if the file has none. Credentials that cannot be read are returned
        as an invalid signature, with the reason among the problems.

    Raises:
        OptionError: The file has credentials and the extra ``provenance`` is not installed; or
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
            "has Content Credentials (C2PA), and c2pa-python, which reads them, is not installed",
            "install the extra 'provenance' (docs/install.md)",
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
    """Return failed checks and reasons, except for the trust in the signer."""
    failures = {str(one.get("code")): one.get("explanation") for one in _dicts(checks.get("failure"))}
    return {code: words for code, words in failures.items() if code != _UNTRUSTED}


def _tool(manifest: Mapping[str, Any]) -> str | None:
    infos = _dicts(manifest.get("claim_generator_info"))
    return _named(infos[0]) if infos else _text(manifest.get("claim_generator"))


def _named(info: Any) -> str | None:
    """Return name and version of a program; older credentials have both in one string."""
    if isinstance(info, dict):
        return _text(" ".join(str(info[key]) for key in ("name", "version") if info.get(key)))
    return _text(info)


def _actions(manifest: Mapping[str, Any]) -> Iterator[str]:
    for assertion in _dicts(manifest.get("assertions")):
        if str(assertion.get("label")).startswith("c2pa.actions"):
            for action in _dicts(_dict(assertion.get("data")).get("actions")):
                yield _action(action)


def _action(action: Mapping[str, Any]) -> str:
    words = _ACTIONS.get(str(action.get("action"))) or _text(action.get("action")) or "unknown edit"
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
    relation = _RELATIONS.get(str(ingredient.get("relationship")), "ingredient")
    name = _text(ingredient.get("title")) or "a file without a title"
    if not ingredient.get("active_manifest"):
        return f"{name} ({relation}), without credentials of its own"
    checks = _dict(_dict(ingredient.get("validation_results")).get("activeManifest"))
    state = "invalid" if _failures(checks) or not checks else "valid"
    return f"{name} ({relation}); its own credentials were {state} when it was used"


def _text(value: Any) -> str | None:
    """Return text from a file as one short printable line; it may be malicious."""
    if value is None:
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return (line if len(line) <= _MAX_TEXT_LENGTH else line[:_MAX_TEXT_LENGTH] + "…") or None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _kind_with_credentials(path: str | os.PathLike[str]) -> str | None:
    """Return the media type of a file if it has credentials."""
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
    """Yield the identifiers of an MP4 file's top-level ``uuid`` boxes."""
    num_bytes = os.fstat(file.fileno()).st_size
    for _ in range(_MAX_PARTS):
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
        if size < 8 or size > num_bytes - start:  # 0: it reaches to the end of the file
            return
        file.seek(start + size)


def _jpeg_has_credentials(file: BinaryIO) -> bool:
    file.seek(2)
    for _ in range(_MAX_PARTS):
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
    for _ in range(_MAX_PARTS):
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = (header[:4], header[4:]) if is_riff else (header[4:], header[:4])
        yield name
        size = int.from_bytes(length, "little" if is_riff else "big")
        # RIFF pads to an even size, PNG appends a checksum.
        file.seek(size + (size % 2 if is_riff else 4), os.SEEK_CUR)
