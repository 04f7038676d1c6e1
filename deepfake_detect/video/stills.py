"""Still and animated images, read by Pillow: the pixels that an image viewer shows.

The EXIF orientation is applied, transparent parts are white, 16 bits are reduced to 8, an animation (GIF,
WebP, PNG, AVIF) is shown frame by frame; of several pages or views (TIFF, HEIC, MPO) the first is read.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError, features

from deepfake_detect.errors import VideoLimitError, VideoUnreadableError
from deepfake_detect.io.media import container_kind
from deepfake_detect.records import VideoMetadata
from deepfake_detect.video.container import is_decodable
from deepfake_detect.video.files import file_head, has_gif_end, jpeg_end
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits

# Container -> Pillow's name of its reader. Only these: others run programs (EPS), or are rare.
_READERS = {"png": "PNG", "jpeg": "JPEG", "gif": "GIF", "webp": "WEBP", "tiff": "TIFF", "bmp": "BMP"}
_READERS |= {"jpeg2000": "JPEG2000", "pnm": "PPM"}
_ANIMATED = frozenset({"GIF", "WEBP", "PNG", "AVIF"})
_WHITE = (255, 255, 255, 255)
# What browsers do with animations that declare less.
_LEAST_MS, _USUAL_MS = 11, 100
_WEBP_END_BYTES = 16  # the last pixels need some of them, whatever the encoder adds
_COLOR_BYTES = 65536  # of a file, in which it says how its colors are meant
_HDR_TRANSFERS = (16, 18)  # PQ and HLG
_SRGB = ImageCms.createProfile("sRGB")
_ORIENTATION = 274  # EXIF's number
_COMPRESSION, _JPEG_INSIDE, _JPEG_TABLES = 259, 7, 347  # of TIFF
# EXIF orientation -> counter-clockwise turn, and whether the image is mirrored after it.
_TURNS = {2: (0, True), 3: (180, False), 4: (180, True), 5: (270, True)}
_TURNS |= {6: (270, False), 7: (90, True), 8: (90, False)}
_TRUNCATED_IMAGES = threading.Lock()  # Pillow has one switch for all threads


@dataclass(frozen=True, eq=False)
class Still:
    """What is known of an image after it was decoded once.

    Attributes:
        metadata: ``is_truncated`` is whether there is ``damage``.
        times_ms: Start of each frame of an animation; ``None`` for a single image.
        damage: What is wrong with the file; ``None`` for an intact one.
        pixels: RGB uint8 (H, W, 3) of a single image.
    """

    metadata: VideoMetadata
    times_ms: tuple[int, ...] | None
    damage: str | None
    pixels: np.ndarray | None


def is_still(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an image."""
    kind = container_kind(head)
    return kind is not None and kind.is_image


def decode_image(data: bytes, *, name: Path, limits: DecodingLimits = DEFAULT_LIMITS) -> np.ndarray:
    """Decode an image file's first frame to upright RGB uint8 (H, W, 3).

    Raises:
        VideoUnreadableError: It is damaged, or not an image of a known format.
        VideoLimitError: It has too many pixels.
    """
    with _opened(name, data, limits) as image, _as_unreadable(name):
        return _rgb(image)


def scan_still(path: Path, limits: DecodingLimits) -> Still:
    """Decode an image file once.

    Raises:
        VideoUnreadableError: Nothing of it decodes.
        VideoLimitError: The file exceeds the limits.
    """
    data = file_head(path, -1)
    with _opened(path, data, limits) as image:
        count = _num_frames(image)
        limits.check_count(path, count)
        turn, is_mirrored = _turn(image)
        format_, mode = str(image.format), image.mode
        damage = _damage(image, data)
        durations: list[int] = []
        pixels = np.empty((0, 0, 3), np.uint8)
        try:
            for pixels, duration in limits.timed(path, _frames(image, count)):  # noqa: B007
                durations.append(duration)
        except VideoLimitError:
            raise
        except _DECODING_ERRORS as error:
            damage = damage or f"is damaged ({_reason(error)})"
    if not durations:
        with _opened(path, data, limits) as image, _tolerant(), _as_unreadable(path):
            pixels, durations = _rgb(image), [0]
        count = 1
    is_single = count == 1
    seconds = 0.0 if is_single else sum(durations) / 1000
    metadata = VideoMetadata(
        path=path,
        codec=format_.lower(),
        pixel_format=mode,
        width=pixels.shape[1],
        height=pixels.shape[0],
        rotation_degrees=turn,
        frames_per_second=len(durations) / seconds if seconds else 0.0,
        num_frames=len(durations),
        num_frames_declared=None if is_single else count,
        duration_seconds=seconds,
        is_truncated=damage is not None,
        is_mirrored=is_mirrored,
    )
    starts = None if is_single else tuple(int(start) for start in np.cumsum([0, *durations[:-1]]))
    return Still(metadata, starts, damage, pixels if is_single else None)


def read_still(
    still: Still, wanted: Sequence[int], limits: DecodingLimits
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the wanted frames with their indices, in order, as far as they decode."""
    if still.pixels is not None:
        yield from ((index, still.pixels) for index in wanted)
        return
    path, left = still.metadata.path, set(wanted)
    with _opened(path, file_head(path, -1), limits) as image, _as_unreadable(path):
        frames = limits.timed(path, _frames(image, max(left, default=-1) + 1, wanted=left))
        for index, (pixels, _) in enumerate(frames):
            if index in left:
                yield index, pixels


@contextmanager
def _opened(path: Path, data: bytes, limits: DecodingLimits) -> Iterator[Image.Image]:
    """Open an image; its size is checked before it is decoded."""
    kind = container_kind(data)
    if kind is None or not kind.is_image:
        raise VideoUnreadableError(path, "is not a readable image", "convert it to PNG or JPEG")
    if kind.container in ("png", "mp4"):
        _check_not_hdr(path, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the size, which has its own limit, and odd tags
        reader = _READERS.get(kind.container) or _heif_reader(path, data)
        try:
            with _as_unreadable(path):
                image = Image.open(io.BytesIO(data), formats=(reader,))
        except VideoUnreadableError as error:
            if isinstance(error.__cause__, Image.DecompressionBombError):
                raise VideoLimitError(
                    path,
                    f"has too many pixels; {limits.max_pixels / 1e6:g} megapixels are allowed",
                    "scale it down",
                ) from error
            raise
        with image:
            limits.check_size(path, *image.size)
            yield image


def _heif_reader(path: Path, data: bytes) -> str:
    """Return Pillow's name of the reader of an AVIF or HEIC image."""
    if b"avi" in data[8 : int.from_bytes(data[:4], "big")]:  # among the formats it says to be compatible with
        if not features.check("avif"):
            raise VideoUnreadableError(
                path, "is an AVIF image, which this version of Pillow cannot read", "update Pillow"
            )
        return "AVIF"
    try:
        import pillow_heif
    except ImportError as error:
        raise VideoUnreadableError(
            path, "is a HEIC image, which needs pillow-heif", "install the extra 'heic' (docs/install.md)"
        ) from error
    pillow_heif.register_heif_opener()
    return "HEIF"


# Pillow's readers raise whatever comes to hand on malformed files, from struct.error to RuntimeError.
_DECODING_ERRORS = (Exception,)


@contextmanager
def _as_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except VideoLimitError:
        raise
    except _DECODING_ERRORS as error:
        raise VideoUnreadableError(
            path, f"is not a readable image ({_reason(error)})", "download the file again"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its header is damaged"
    return (str(error) or type(error).__name__).splitlines()[0][:120]


@contextmanager
def _tolerant() -> Iterator[None]:
    """Let Pillow decode what is there of a truncated image."""
    with _TRUNCATED_IMAGES:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _num_frames(image: Image.Image) -> int:
    if image.format not in _ANIMATED:
        return 1  # pages, views and thumbnails are not shown one after the other
    try:
        return int(getattr(image, "n_frames", 1)) - _first(image)
    except _DECODING_ERRORS:
        return 1  # reading the first one says what is wrong


def _first(image: Image.Image) -> int:
    """Return the index of the first frame: an animated PNG may begin with one that is not part of it."""
    return int(bool(getattr(image, "default_image", False)))


def _frames(
    image: Image.Image, count: int, *, wanted: set[int] | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the first frames with their durations in milliseconds; only wanted ones are converted."""
    if count == 1:
        yield _rgb(image), 0
        return
    empty = np.empty((0, 0, 3), np.uint8)
    for index in range(count):
        image.seek(_first(image) + index)
        image.load()
        duration = int(image.info.get("duration") or 0)
        is_wanted = wanted is None or index in wanted
        yield _rgb(image) if is_wanted else empty, duration if duration >= _LEAST_MS else _USUAL_MS


def _rgb(image: Image.Image) -> np.ndarray:
    """Convert a decoded frame to upright RGB uint8 (H, W, 3)."""
    image.load()
    upright = _upright(_srgb(image))  # in many cases the image itself: no copies of large images
    if upright.mode.startswith("I") or upright.mode == "F":
        values = np.asarray(upright)  # (H, W): 16 bits, or a float in [0, 1]
        scaled = values >> 8 if values.dtype.kind in "iu" else np.nan_to_num(values) * 255
        return np.repeat(np.clip(scaled, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if upright.has_transparency_data:
        over = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", over.size, _WHITE), over)
    return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))


def _srgb(image: Image.Image) -> Image.Image:
    """Convert the colors of an image with a profile of its own, as viewers do; transparency stays."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "RGBA"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # as viewers do with a malformed profile
    return image if converted is None else converted


def _check_not_hdr(path: Path, data: bytes) -> None:
    """Raise for PQ and HLG, whose values would be taken for those of a darker image."""
    head = data[:_COLOR_BYTES]
    heif, png = head.find(b"colrnclx"), head.find(b"cICP")
    transfer = head[heif + 10 : heif + 12] if heif >= 0 else head[png + 5 : png + 6] if png >= 0 else b""
    if int.from_bytes(transfer, "big") in _HDR_TRANSFERS:
        raise VideoUnreadableError(path, "is an HDR image (PQ or HLG)", "convert it to an SDR image")


def _upright(image: Image.Image) -> Image.Image:
    try:
        has_turn = image.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if has_turn else image
    except _DECODING_ERRORS:
        return image  # as viewers do with a malformed tag


def _turn(image: Image.Image) -> tuple[int, bool]:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1), (0, False))
    except _DECODING_ERRORS:
        return 0, False


def _damage(image: Image.Image, data: bytes) -> str | None:
    """Return what is wrong with a file that Pillow would decode without an error."""
    ends_early = "the file ends too early"
    if image.format == "GIF" and not has_gif_end(data):
        return ends_early
    if image.format in ("JPEG", "MPO"):
        end = jpeg_end(data)
        if end is None:
            return ends_early
        if not is_decodable(data[:end]):
            return "is damaged (its data cannot be decoded)"
    if image.format == "WEBP":
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            return ends_early
        if _decodes_without_end(data):
            return "is damaged (its pixels end before its data)"
    if image.format == "TIFF" and not all(map(is_decodable, _jpegs_inside(image, data))):
        return "is damaged (its data cannot be decoded)"
    if image.format == "AVIF" and not is_decodable(data):
        return "is damaged (its data cannot be decoded)"
    if image.format == "PNG":
        try:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as copy:
                copy.verify()  # the checksum of every part
        except _DECODING_ERRORS as error:
            return f"is damaged ({_reason(error)})"
    return None


def _jpegs_inside(image: Image.Image, data: bytes) -> Iterator[bytes]:
    """Yield the strips or tiles of a TIFF with JPEG compression as JPEG files, with their common tables."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(_COMPRESSION) != _JPEG_INSIDE:
        return
    tables = bytes(tags.get(_JPEG_TABLES, b"\xff\xd8\xff\xd9"))[:-2]  # without their end mark
    for offsets, counts in ((273, 279), (324, 325)):  # of strips, of tiles
        for start, size in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
            yield tables + data[start + 2 : start + size]  # without its start mark


def _decodes_without_end(data: bytes) -> bool:
    """Return whether a WebP image needs less than its data: a damaged one loses its place in them."""
    position = 12
    while position + 8 <= len(data):
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if name == b"VP8 ":
            body = data[position + 8 : position + 8 + size][:-_WEBP_END_BYTES]
            body += bytes(len(body) % 2)
            parts = (b"RIFF", _little(12 + len(body)), b"WEBPVP8 ", _little(len(body)), body)
            try:
                with Image.open(io.BytesIO(b"".join(parts)), formats=("WEBP",)) as image:
                    image.load()
            except _DECODING_ERRORS:
                return False
            return True
        position += 8 + size + size % 2
    return False


def _little(number: int) -> bytes:
    return number.to_bytes(4, "little")
