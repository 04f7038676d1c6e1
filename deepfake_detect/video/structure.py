"""Walk through the parts of a container, which state their lengths: a gap or a cut is where they do not fit.

FFmpeg looks for the next good part after a gap and says nothing. Only headers are read, so that a file of
hours takes a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_GAP, _CUT = "is damaged: parts of it are missing or do not fit together", "the file ends within a frame"
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_UNKNOWN = -1  # size of a live recording
# Elements of a Matroska segment, of a cluster, and those allowed anywhere (CRC-32, Void).
_ELEMENTS = frozenset(
    {0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
    | {0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0xBF, 0xEC}
)
_TS_LENGTHS = (188, 192, 204)  # 192 with a time stamp each (cameras), 204 with check bytes (broadcast)
_TS_SYNC = 0x47
_PIECE_BYTES = 2**20
# Boxes of an MP4 that hold others: in which each lies, and what it must hold.
_MP4_PARENTS = {
    b"moov": (b"", {b"mvhd"}),
    b"trak": (b"moov", {b"tkhd", b"mdia"}),
    b"edts": (b"trak", {b"elst"}),
    b"mdia": (b"trak", {b"mdhd", b"minf"}),
    b"minf": (b"mdia", {b"stbl"}),
    b"stbl": (b"minf", {b"stsd"}),
    b"moof": (b"", {b"mfhd"}),
    b"traf": (b"moof", {b"tfhd"}),
}
_COMPRESSED = b"cmov"  # holds all that its parent must hold


def structure_damage(path: Path, container: str) -> str | None:
    """Return what is wrong with a file's parts, or ``None``.

    Args:
        path: The file.
        container: FFmpeg's name of the format.
    """
    walk = next((walk for name, walk in _WALKS.items() if name in container.split(",")), None)
    if walk is None:
        return None
    with open(path, "rb") as file:
        return next(walk(file, os.fstat(file.fileno()).st_size), None)


def _matroska(file: BinaryIO, end: int) -> Iterator[str]:
    position, cluster_end, is_inside = 0, end, False
    while position < end:
        if position > cluster_end:
            yield _GAP
        if position >= cluster_end:
            cluster_end = end
        file.seek(position)
        head = file.read(12)
        id_, id_length = _ebml_number(head, keeps_mark=True)
        size, size_length = _ebml_number(head[id_length:], keeps_mark=False)
        if not id_length or not size_length:
            yield _CUT if end - position < 12 else _GAP
            return
        position += id_length + size_length
        if not is_inside:
            if id_ == _SEGMENT:
                is_inside = True
                if size != _UNKNOWN and position + size > end:
                    yield _CUT
                end = cluster_end = end if size == _UNKNOWN else min(end, position + size)
                continue
        elif id_ not in _ELEMENTS:
            yield _GAP
        elif id_ == _CLUSTER:
            cluster_end = end if size == _UNKNOWN else position + size
            if cluster_end > end:
                yield _CUT
            continue
        position += max(0, size)
    if position > end:
        yield _CUT


def _ebml_number(data: bytes, *, keeps_mark: bool) -> tuple[int, int]:
    """Return a number of variable length and its length in bytes, 0 if it is cut off."""
    length = 9 - data[0].bit_length() if data else 0
    if not 0 < length <= min(8, len(data)):
        return 0, 0
    number = int.from_bytes(data[:length], "big")
    if keeps_mark:
        return number, length
    mask = (1 << 7 * length) - 1
    return (_UNKNOWN if number & mask == mask else number & mask), length


def _flv(file: BinaryIO, end: int) -> Iterator[str]:
    file.seek(5)
    position = int.from_bytes(file.read(4), "big") + 4
    while position < end:
        file.seek(position)
        head = file.read(11)
        size = 11 + int.from_bytes(head[1:4], "big")
        if len(head) < 11 or position + size + 4 > end:
            yield _CUT
            return
        file.seek(position + size)
        stated = int.from_bytes(file.read(4), "big")
        if head[0] & 0x1F not in (8, 9, 18) or stated not in (size, 0):  # some writers state nothing
            yield _GAP
        position += size + 4


def _avi(file: BinaryIO, end: int) -> Iterator[str]:
    position = 0
    while position + 8 <= end:
        file.seek(position)
        head = file.read(12)
        if not all(32 <= byte < 127 for byte in head[:4]):
            if any(head):  # zeros: padding
                yield _GAP
            return
        is_list = head[:4] in (b"RIFF", b"LIST") and head[8:12] in (b"AVI ", b"AVIX", b"movi", b"rec ")
        size = int.from_bytes(head[4:8], "little")
        position += 12 if is_list else 8 + size + size % 2
    if position > end + 1:
        yield _CUT


def _transport_stream(file: BinaryIO, end: int) -> Iterator[str]:
    head = file.read(4 * _TS_LENGTHS[-1])
    start = next(
        (
            (offset, length)
            for length in _TS_LENGTHS
            for offset in (0, 4)
            if set(head[offset : offset + 4 * length : length]) == {_TS_SYNC}
        ),
        None,
    )
    if start is None:
        return
    offset, length = start
    file.seek(0)
    while piece := file.read(length * (_PIECE_BYTES // length)):
        if set(piece[offset::length]) > {_TS_SYNC}:
            yield _GAP
    if (end - offset) % length not in (0, length - offset):
        yield _CUT


def _program_stream(file: BinaryIO, end: int) -> Iterator[str]:
    position = 0
    while position < end:
        file.seek(position)
        head = file.read(14)
        kind = head[3] if len(head) > 3 else 0
        if head[:3] != b"\0\0\1" or kind < 0xB9:
            if head.strip(b"\0\xff"):  # padding
                yield _CUT if end - position < 14 else _GAP
            return
        if kind == 0xB9:
            position += 4
        elif kind == 0xBA:  # a pack, of MPEG-2 with stuffing, or of MPEG-1
            is_second = len(head) > 4 and head[4] >> 6 == 1
            position += 14 + (head[-1] & 7) if is_second else 12
        else:
            position += 6 + int.from_bytes(head[4:6], "big")
    if position > end:
        yield _CUT


def _mp4(file: BinaryIO, end: int, position: int = 0, parent: bytes = b"") -> Iterator[str]:
    """Find missing headers: FFmpeg makes do without those of times, turns and edit lists."""
    kinds = set()
    for kind, start, box_end in _boxes(file, position, end):
        kinds.add(kind)
        if kind in _MP4_PARENTS and _MP4_PARENTS[kind][0] == parent:
            yield from _mp4(file, box_end, start, kind)
        is_printable = not parent or min(kind) >= ord(" ")  # anything may follow the last part of a file
        if not is_printable or (kind == b"trun" and not _holds_its_samples(file, start, box_end)):
            yield _GAP
    if parent and kinds and _COMPRESSED not in kinds and not _MP4_PARENTS[parent][1] <= kinds:
        yield _GAP


def _boxes(file: BinaryIO, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box, and where its content starts and ends."""
    while position + 8 <= end:
        file.seek(position)
        head = file.read(16)
        size, length = int.from_bytes(head[:4], "big"), 8
        if size == 1:  # the size follows, in 64 bits
            size, length = int.from_bytes(head[8:16], "big"), 16
        if size < length:  # to the end, or zeros as a terminator
            size = end - position if head[4:8].strip(b"\0") and size == 0 else 0
        if not size:
            return
        yield head[4:8], position + length, min(end, position + size)
        position += size


def _holds_its_samples(file: BinaryIO, start: int, end: int) -> bool:
    """Return whether a fragment's list of samples has the length of as many as it states."""
    file.seek(start)
    head = file.read(8)
    flags, count = int.from_bytes(head[1:4], "big"), int.from_bytes(head[4:], "big")
    return end - start == 8 + 4 * ((flags & 0x5).bit_count() + count * (flags & 0xF00).bit_count())


_WALKS = {
    "mov": _mp4,
    "matroska": _matroska,
    "flv": _flv,
    "avi": _avi,
    "mpegts": _transport_stream,
    "mpeg": _program_stream,
}
