"""How crops are cut and stored: written beside them, and the same for all of one folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import cv2

from deepfake_detect.errors import OptionError
from deepfake_detect.faces import FaceDetector, check_geometry
from deepfake_detect.records import CropGeometry
from deepfake_detect.video import EvenlySpaced

PersonPolicy = Literal["auto", "largest", "mask", "all"]
PERSON_POLICIES: tuple[PersonPolicy, ...] = ("auto", "largest", "mask", "all")
Store = Literal["files", "shards"]
STORES: tuple[Store, ...] = ("files", "shards")


@dataclass(frozen=True)
class ExtractionConfig:
    """How crops are cut and stored.

    Attributes:
        num_frames: Evenly spaced frames taken of each video.
        geometry: Margin and alignment of the crops.
        min_face: Side in pixels of the smallest face looked for; ``None`` is the detector's
            default for the frame's size.
        person: Whose faces are kept. A dataset's label is about one person: ``"auto"`` is whom the
            published mask covers where the video has one, else ``"largest"``, the person seen
            largest and longest; ``"mask"`` is the same, but a fake without a usable mask gives no
            crops; ``"all"`` keeps everybody, bystanders under the video's label included.
        codec: ``"png"``, or ``"jpeg-1"`` to ``"jpeg-100"`` by quality (chroma at full resolution).
        store: ``"files"``, a file a crop, or ``"shards"``, a tar a video.
        allow_truncated: Whether a video with missing pictures gives crops of those it has.
        already_cropped: Whether each frame is a face crop already, cut by the dataset's owners with
            ``geometry``; it is kept whole, and no face is looked for.
    """

    num_frames: int = 32
    geometry: CropGeometry = CropGeometry()
    min_face: float | None = None
    person: PersonPolicy = "auto"
    codec: str = "png"
    store: Store = "files"
    allow_truncated: bool = False
    already_cropped: bool = False


def check_config(config: ExtractionConfig) -> None:
    """Raise OptionError for what would be refused of every video alike: before hours of work, not in them."""
    FaceDetector(min_face=config.min_face, device="cpu")
    EvenlySpaced(config.num_frames)
    check_geometry(config.geometry)
    encoding_of(config.codec)
    for name, value, known in (("person", config.person, PERSON_POLICIES), ("store", config.store, STORES)):
        if value not in known:
            raise OptionError(name, f"{value!r} is unknown", f"choose one of: {', '.join(known)}")
    if config.already_cropped and config.person != "auto":
        raise OptionError(
            "person", "crops that the owners cut show one person each", "leave it out, or --already-cropped"
        )


def encoding_of(codec: str) -> tuple[str, list[int]]:
    """Return a codec's file suffix and OpenCV's parameters for it.

    Raises:
        OptionError: There is no such codec.

    Example:
        >>> encoding_of("jpeg-95")[0]
        '.jpg'
    """
    if codec == "png":
        return ".png", []
    quality = re.fullmatch(r"jpeg-([1-9][0-9]?|100)", codec)
    if quality is None:
        raise OptionError("codec", f"{codec!r} is unknown", "pass png, or jpeg-1 to jpeg-100 by quality")
    # Forgeries show in the chroma too, which JPEG halves unless told not to.
    full_chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return ".jpg", [cv2.IMWRITE_JPEG_QUALITY, int(quality[1]), *full_chroma]
