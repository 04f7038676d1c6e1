"""Images: the pixels that a viewer shows, in every format, orientation and mode; damage is an error."""

from __future__ import annotations

import contextlib
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, features

from deepfake_detect.errors import VideoLimitError, VideoTruncatedError, VideoUnreadableError
from deepfake_detect.video import read_frames, read_metadata, stills
from deepfake_detect.video.limits import DecodingLimits
from tests.media import numbered_image, read_number

PHOTO = Image.fromarray(numbered_image(42))


def only_image(path: Path) -> np.ndarray:
    (frame,) = read_frames(path)
    assert read_metadata(path).num_frames == 1
    assert frame.image.dtype == np.uint8
    assert frame.image.shape[2] == 3
    return frame.image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_every_orientation_is_shown_alike(tmp_path: Path, orientation: int, suffix: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = PHOTO if orientation == 1 else PHOTO.transpose(undo[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"photo{suffix}"
    stored.save(path, exif=exif, quality=100)
    image = only_image(path)
    assert image.shape == (64, 96, 3)
    assert np.abs(image.astype(int) - numbered_image(42)).max() < (1 if suffix in (".png", ".tif") else 50)
    metadata = read_metadata(path)
    turned = np.rot90(np.asarray(stored), metadata.rotation_degrees // 90)
    turned = turned[:, ::-1] if metadata.is_mirrored else turned
    if suffix == ".png":
        assert np.array_equal(turned, image)
    assert (metadata.width, metadata.height) == (96, 64)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.tif", {"compression": "jpeg", "quality": 95}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.tif", {"compression": "raw", "tiffinfo": {322: 32, 323: 32}}),
        ("a.bmp", {}),
        ("a.jp2", {"irreversible": False}),
        ("a.jpg", {"progressive": True, "quality": 95}),
        ("a.webp", {"lossless": True}),
        ("a.png", {}),
        ("a.gif", {}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L", "P", "1", "RGBA", "LA"])
def test_pixels_are_those_of_pillow(tmp_path: Path, name: str, save: dict[str, object], mode: str) -> None:
    path = tmp_path / name
    try:
        PHOTO.convert(mode).save(path, **save)
    except (OSError, ValueError, RuntimeError, SystemError):
        pytest.skip("Pillow does not write it")
    with Image.open(path) as image:
        assert np.array_equal(only_image(path), np.asarray(image.convert("RGB")))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 96 * 64).astype(np.uint16).reshape(64, 96)
    for name in ("gray.png", "gray.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert np.array_equal(only_image(tmp_path / name)[..., 1], values >> 8)
    Image.fromarray((values / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    assert np.abs(only_image(tmp_path / "float.tif")[..., 0].astype(int) - (values >> 8)).max() <= 1


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    image = PHOTO.convert("RGBA")
    image.putalpha(Image.fromarray(np.pad(np.full((32, 96), 255, np.uint8), ((32, 0), (0, 0)))))
    image.save(tmp_path / "cut_out.png")
    shown = only_image(tmp_path / "cut_out.png")
    assert (shown[:32] == 255).all()
    assert np.array_equal(shown[32:], numbered_image(42)[32:])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.webp"])
def test_bytes_after_the_end_do_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    PHOTO.save(path)
    whole = only_image(path)
    path.write_bytes(path.read_bytes() + b" " * 28)
    assert np.array_equal(only_image(path), whole)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_animations_are_clips(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    path = tmp_path / f"moving{suffix}"
    images = [Image.fromarray(numbered_image(number)) for number in range(5)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[40, 80, 40, 120, 40])
    frames = list(read_frames(path))
    assert [read_number(frame.image) for frame in frames] == list(range(5))
    assert [frame.time_seconds for frame in frames] == pytest.approx([0, 0.04, 0.12, 0.16, 0.28])
    metadata = read_metadata(path)
    assert (metadata.num_frames, metadata.duration_seconds) == (5, pytest.approx(0.32))
    with pytest.raises(
        VideoLimitError, match="has more than 4 frames; cut out a part, or raise `max_frames`"
    ):
        read_metadata(path, limits=DecodingLimits(max_frames=4))


def test_pages_and_views_are_no_frames(tmp_path: Path) -> None:
    images = [Image.fromarray(numbered_image(number)) for number in range(3)]
    images[0].save(tmp_path / "pages.tif", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "views.mpo", save_all=True, append_images=images[1:])
    for name in ("pages.tif", "views.mpo"):
        assert read_number(only_image(tmp_path / name)) == 0


def test_the_image_before_an_animated_png_is_not_a_frame(tmp_path: Path) -> None:
    images = [Image.fromarray(numbered_image(number)) for number in (9, 0, 1)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], default_image=True)
    assert [read_number(frame.image) for frame in read_frames(tmp_path / "a.png")] == [0, 1]


def test_heic(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    PHOTO.save(tmp_path / "photo.heic", quality=95)
    assert read_number(only_image(tmp_path / "photo.heic")) == 42


def test_heic_without_its_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(VideoUnreadableError, match="is a HEIC image, .*; install the extra 'heic'"):
        read_metadata(path)


def test_avif_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills.features, "check", lambda name: False)
    path = tmp_path / "a.avif"
    path.write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(100))
    with pytest.raises(VideoUnreadableError, match="is an AVIF image, .*; update Pillow"):
        read_metadata(path)


def flip(data: bytearray) -> bytes:
    data[len(data) // 2] ^= 8
    return bytes(data)


def cut(data: bytearray) -> bytes:
    return bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "damage"),
    [("a.png", flip), ("a.png", cut), ("a.webp", cut), ("a.gif", cut), ("a.jpg", cut), ("a.bmp", cut)],
)
def test_damage_is_an_error(tmp_path: Path, name: str, damage: Callable[[bytearray], bytes]) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(256, size=(64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(damage(bytearray(path.read_bytes())))
    with pytest.raises((VideoTruncatedError, VideoUnreadableError), match="damaged|ends too early|readable"):
        read_frames(path)


def test_a_malformed_orientation_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PHOTO.save(tmp_path / "a.png")

    def fail(image: Image.Image) -> None:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    monkeypatch.setattr(Image.Image, "getexif", fail)
    assert read_number(only_image(tmp_path / "a.png")) == 42


@pytest.mark.parametrize("side", [8000, 16000])
def test_a_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(stills, "_rgb", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(VideoLimitError, match="pixels; 50 megapixels are allowed; scale it down"):
        read_metadata(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_a_flipped_bit_of_lossy_images_is_an_error(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    path = tmp_path / f"a{suffix}"
    grid = np.indices((128, 192)).sum(0)[..., None] * np.array([3, 5, 7])
    Image.fromarray((grid % 256).astype(np.uint8)).save(path, quality=80)
    whole = path.read_bytes()
    assert not read_metadata(path).is_truncated
    num_silent = 0
    for number in range(10):
        data = bytearray(whole)
        data[len(data) * (30 + 4 * number) // 100] ^= 4
        path.write_bytes(data)
        with contextlib.suppress(VideoUnreadableError):
            num_silent += not read_metadata(path).is_truncated
    assert num_silent <= 1  # that are taken for intact


def test_an_animation_whose_first_frame_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    images = [Image.fromarray(numbered_image(number)) for number in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    data = bytearray(path.read_bytes())
    start = data.index(b"\x2c", 800)  # the first image
    data[start + 40 : start + 90] = b"\xff" * 50
    path.write_bytes(data)
    with pytest.raises((VideoTruncatedError, VideoUnreadableError), match="damaged|readable|too early"):
        list(read_frames(path))
    with contextlib.suppress(VideoUnreadableError):
        assert len(list(read_frames(path, allow_truncated=True))) <= 3


@pytest.mark.parametrize("tile", [None, 64])
def test_damage_of_a_jpeg_in_a_tiff(tile: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tags = {} if tile is None else {"tiffinfo": {322: tile, 323: tile}}
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    Image.fromarray(noise).save(path, compression="jpeg", quality=90, **tags)
    assert not read_metadata(path).is_truncated
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xda") + 300  # among the pixels
    del data[start : start + 6]
    data[start + 40 : start + 40] = bytes(6)
    path.write_bytes(data)
    with pytest.raises((VideoTruncatedError, VideoUnreadableError), match="damaged|readable"):
        list(read_frames(path))


def test_colors_are_those_of_the_profile(tmp_path: Path) -> None:
    """A profile that swaps red and green, as no plausible one does: nothing else gives these pixels."""
    values = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(values).save(tmp_path / "srgb.png", icc_profile=srgb)
    assert np.array_equal(only_image(tmp_path / "srgb.png"), values)
    swapped = srgb.replace(b"rXYZ", b"tXYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tXYZ", b"gXYZ", 1)
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}", icc_profile=swapped)
        found = only_image(tmp_path / f"a.{suffix}")
        assert np.abs(found.astype(int) - values[..., [1, 0, 2]]).max() <= 3
    Image.fromarray(values).save(tmp_path / "bad.png", icc_profile=b"no profile")
    assert np.array_equal(only_image(tmp_path / "bad.png"), values)


@pytest.mark.parametrize("transfer", [13, 16, 18])
def test_hdr_images_are_refused_by_name(transfer: int, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PHOTO.save(path)
    body = b"cICP" + bytes([9, transfer, 0, 1])
    chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    data = path.read_bytes()
    path.write_bytes(data[:33] + chunk + data[33:])
    if transfer == 13:
        only_image(path)
        return
    with pytest.raises(VideoUnreadableError, match="is an HDR image .PQ or HLG.; convert it to an SDR image"):
        read_metadata(path)
