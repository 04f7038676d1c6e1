"""Deterministic damage to files of every kind: seeds, mutators, and what became of each mutant.

A mutant is named by its seed file, its mutator and a number, which is also the seed of its chance: the
same name gives the same bytes on every machine.
"""

from __future__ import annotations

import io
import os
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

os.environ.setdefault("SVT_LOG", "1")  # an encoder that prints its settings otherwise
Mutator = Callable[[bytearray, random.Random], bytes]

# Encoder and its options, by the name of the seed.
CLIPS: dict[str, tuple[str, dict[str, str]]] = {
    "h264.mp4": ("libx264", {"crf": "23", "g": "12", "x264-params": "log-level=none"}),
    "h264.mkv": ("libx264", {"crf": "23", "g": "250", "x264-params": "log-level=none"}),
    "h264.ts": ("libx264", {"crf": "23", "g": "12", "x264-params": "log-level=none"}),
    "h264.flv": ("libx264", {"crf": "23", "bf": "0", "x264-params": "log-level=none"}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none:crf=26"}),
    "vp9.webm": ("libvpx-vp9", {"crf": "32", "b": "0", "cpu-used": "8"}),
    "vp8.webm": ("libvpx", {"crf": "10", "b": "900000", "cpu-used": "8"}),
    "av1.mp4": ("libsvtav1", {"preset": "12", "crf": "35", "svtav1-params": "lp=1"}),
    "mpeg2.mpg": ("mpeg2video", {"b": "1500000"}),
    "mpeg4.avi": ("mpeg4", {"b": "900000"}),
    "mjpeg.avi": ("mjpeg", {"q": "4"}),
}
IMAGES: dict[str, dict[str, Any]] = {
    "a.jpg": {"quality": 90},
    "progressive.jpg": {"quality": 85, "progressive": True},
    "a.png": {},
    "a.webp": {"quality": 85},
    "a.gif": {},
    "a.tif": {"compression": "tiff_lzw"},
    "jpeg.tif": {"compression": "jpeg", "quality": 90},
    "a.bmp": {},
    "a.avif": {"quality": 75},
}


def write_seeds(folder: Path, frames: list[np.ndarray]) -> dict[str, Path]:
    """Write clips of the frames, and images of the first, in every format; return them by name.

    Args:
        folder: Existing folder.
        frames: RGB uint8 (H, W, 3) with even sides.
    """
    height, width = frames[0].shape[:2]
    for name, (codec, options) in CLIPS.items():
        with av.open(str(folder / name), "w") as container:
            stream: Any = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for number, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=stream.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    for name, how in IMAGES.items():
        Image.fromarray(frames[0]).save(folder / name, **how)
    return {path.name: path for path in sorted(folder.iterdir())}


def _flip(count: int, *, within: int | None = None) -> Mutator:
    def mutate(data: bytearray, chance: random.Random) -> bytes:
        for _ in range(count):
            data[chance.randrange(min(len(data), within or len(data)))] ^= 1 << chance.randrange(8)
        return bytes(data)

    return mutate


def _cut(data: bytearray, chance: random.Random) -> bytes:
    keep = chance.choice([0.05, 0.3, 0.6, 0.9, 1.0])
    return bytes(data[: max(1, int(len(data) * keep) - chance.randrange(64))])


def _zero(data: bytearray, chance: random.Random) -> bytes:
    length = max(1, len(data) // chance.choice([20, 50, 200]))
    start = chance.randrange(max(1, len(data) - length))
    data[start : start + length] = bytes(length)
    return bytes(data)


def _remove(data: bytearray, chance: random.Random) -> bytes:
    length = max(1, len(data) // chance.choice([8, 30, 300]))
    start = chance.randrange(max(1, len(data) - length))
    del data[start : start + length]
    return bytes(data)


def _insert(data: bytearray, chance: random.Random) -> bytes:
    length = chance.choice([1, 16, 400])
    start = chance.randrange(len(data))
    data[start:start] = chance.randbytes(length)
    return bytes(data)


def _field(data: bytearray, chance: random.Random) -> bytes:
    """Set a number to an extreme, among the first ones or anywhere in the file's head or end."""
    start = chance.choice([chance.randrange(min(len(data), 256)), chance.randrange(len(data))])
    value = chance.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\0\1\0\0"])
    data[start : start + 4] = value[: len(data) - start]
    return bytes(data)


def _of_packets(data: bytearray, change: Callable[[int, int], None]) -> None:
    """Call with the position and length of each video packet of a clip, where the container tells."""
    with av.open(io.BytesIO(bytes(data))) as container:
        for packet in container.demux(video=0):
            if packet.size > 60 and packet.pos is not None and packet.pos >= 0:
                change(packet.pos, packet.size)


def _rot(data: bytearray, chance: random.Random) -> bytes:
    """Flip bits within the packets of a clip; every length, header and time stays."""

    def change(start: int, size: int) -> None:
        if chance.random() < 0.4:
            for _ in range(3):
                position = start + chance.randrange(40, size)
                if position < len(data):
                    data[position] ^= 1 << chance.randrange(8)

    _of_packets(data, change)
    return bytes(data)


def _drop(data: bytearray, chance: random.Random) -> bytes:
    """Write a clip again without some of its packets."""
    out = io.BytesIO()
    with av.open(io.BytesIO(bytes(data))) as source:
        name = source.format.name.split(",")[0]
        name = {"mov": "mp4", "matroska": "matroska", "mpeg": "mpeg"}.get(name, name)
        with av.open(out, "w", format=name) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None and (packet.is_keyframe or chance.random() > 0.3):
                    packet.stream = stream
                    target.mux(packet)
    return out.getvalue()


BYTES: dict[str, Mutator] = {
    "flip1": _flip(1),
    "flip8": _flip(8),
    "flip64": _flip(64),
    "head": _flip(4, within=600),
    "cut": _cut,
    "zero": _zero,
    "remove": _remove,
    "insert": _insert,
    "field": _field,
}
"""Mutators of any file."""

PACKETS: dict[str, Mutator] = {"rot": _rot, "drop": _drop}
"""Mutators of clips."""


def mutants(seed: Path, *, per_kind: int, first: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of mutants of a file; those that are equal to it are left out.

    Args:
        seed: The intact file.
        per_kind: How many of each mutator.
        first: Number of the first: other numbers give other mutants.
    """
    whole = seed.read_bytes()
    kinds = {**BYTES, **(PACKETS if seed.name in CLIPS else {})}
    for kind, mutate in kinds.items():
        for number in range(first, first + per_kind):
            name = f"{seed.name}:{kind}:{number}"
            try:
                data = mutate(bytearray(whole), random.Random(zlib.crc32(name.encode())))
            except (av.FFmpegError, ValueError):
                continue  # FFmpeg cannot write such a clip
            if data != whole:
                yield name, data


@dataclass(frozen=True)
class OtherSeed:
    """A file that is neither clip nor image.

    Attributes:
        seed: The intact file.
        place: Where a mutant of it must lie to be read.
        read: Reads it.
    """

    seed: Path
    place: Path
    read: Callable[[Path], object]


def write_other_seeds(folder: Path) -> dict[str, OtherSeed]:
    """Write a manifest, a detector file and a list of videos; needs the extra ``train``."""
    from deepfake_detect.data.layouts.base import Selection
    from deepfake_detect.data.layouts.csv_list import LAYOUT
    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector
    from deepfake_detect.models.classifier import create_model
    from deepfake_detect.records import CropGeometry
    from tests.data.layouts.miniatures import place_videos
    from tests.data.trees import crop_manifest, textured_crops

    manifest = crop_manifest(folder / "manifest", textured_crops(6, "val"))
    model = create_model("test_resnet", image_size=64)
    detector = folder / "small.safetensors"
    save_detector(
        detector,
        model,
        DetectorConfig("small", "1", model.spec, CropGeometry(), uncertain_low=0.2, uncertain_high=0.8),
    )
    place_videos(folder / "mine", "abc")
    listed = folder / "list.csv"
    listed.write_text("path,label,split,method\na.mp4,1,train,Swap\nb.mp4,0,val,\nc.mp4,1,test,Swap\n")
    return {
        "manifest": OtherSeed(
            manifest, folder / "manifest" / "m.parquet", lambda path: read_manifest(path).table.to_pylist()
        ),
        "detector": OtherSeed(detector, folder / "m.safetensors", read_detector),
        "list": OtherSeed(listed, folder / "mine" / "list.csv", lambda path: LAYOUT.read(path, Selection())),
    }
