from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.io.media import HEAD_BYTES, container_kind, media_kind
from tests import media


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx")),
        *(("a.avi", "mpeg4"), ("a.flv", "flv1"), ("a.ts", "libx264"), ("a.mpg", "mpeg2video")),
        *(("a.wmv", "wmv2"), ("a.ogv", "libtheora"), ("a.gif", "gif")),
    ],
)
def test_real_containers_are_known(name: str, codec: str, tmp_path: Path) -> None:
    pixels = {"gif": "rgb8"}.get(codec, "yuv420p")
    try:
        path = media.write_clip(tmp_path / name, num_frames=30, codec=codec, pixel_format=pixels, options={})
    except ValueError as error:
        pytest.skip(f"this FFmpeg cannot write {codec}: {error}")
    kind = media_kind(path.read_bytes()[:HEAD_BYTES])
    assert kind is not None
    assert kind.is_image == (codec == "gif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_images_are_known(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    kind = media_kind(path.read_bytes())
    assert kind is not None
    assert (kind.suffix, kind.is_image) == (suffix, True)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"hello, world\n" * 50,
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b'<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">',
        b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        b'GIF89a<MPD profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">',
        b"<html><video src=a.mp4>",
        b"%PDF-1.7\n",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"\x7fELF\x02\x01\x01",
    ],
)
def test_what_is_no_media_or_names_other_files_is_not(head: bytes) -> None:
    assert media_kind(head) is None


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mp4"),
        (b"\0\0\0\x18uuid\xd8\xfe\xc3\xd6", "mp4"),
        (b"\0\0\0\x18ftypavif", "mp4"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
        (b"GIF89a", "gif"),
        (b"RIFF\x10\0\0\0WEBP", "webp"),
        ((b"\x47" + bytes(187)) * 4, "mpegts"),
        (b"\x47" + bytes(700), None),
        (b"", None),
    ],
)
def test_containers_are_named_by_their_first_bytes(head: bytes, container: str | None) -> None:
    kind = container_kind(head)
    assert (None if kind is None else kind.container) == container
