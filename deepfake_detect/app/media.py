"""What kind of file an upload is, by its first bytes and by nothing its sender says of it.

FFmpeg also reads playlists: texts that name other files, which it then opens. Handing it whatever
comes would let an upload read this computer's files, so only known containers go on.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 2**20
"""How much of a file :func:`media_kind` wants to see."""

_TRANSPORT_PACKET_BYTES = 188


@dataclass(frozen=True)
class MediaKind:
    """A container that is taken.

    Attributes:
        suffix: Of the stored file.
        mime: As the player is told.
        is_picture: Whether the page shows it as a picture.
    """

    suffix: str
    mime: str
    is_picture: bool = False


_MP4 = MediaKind(".mp4", "video/mp4")
_QUICKTIME = MediaKind(".mov", "video/mp4")
_AVIF = MediaKind(".avif", "image/avif", True)
_STARTS = (
    (b"\x1a\x45\xdf\xa3", MediaKind(".webm", "video/webm")),
    (b"FLV\x01", MediaKind(".flv", "video/x-flv")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", MediaKind(".wmv", "video/x-ms-wmv")),
    (b"OggS", MediaKind(".ogv", "video/ogg")),
    (b"\x00\x00\x01\xba", MediaKind(".mpg", "video/mpeg")),
    (b"\x89PNG\r\n\x1a\n", MediaKind(".png", "image/png", True)),
    (b"\xff\xd8\xff", MediaKind(".jpg", "image/jpeg", True)),
    (b"GIF87a", MediaKind(".gif", "image/gif", True)),
    (b"GIF89a", MediaKind(".gif", "image/gif", True)),
)
_RIFF_KINDS = {
    b"AVI ": MediaKind(".avi", "video/x-msvideo"),
    b"WEBP": MediaKind(".webp", "image/webp", True),
}
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
_STILL_BRANDS = frozenset({b"avif", b"heic", b"heix", b"mif1"})
# Of HLS, DASH, FFmpeg's own list of files, and session descriptions.
_PLAYLIST_MARKS = (b"#extm3u", b"<mpd", b"ffconcat", b"c=in ip")


def media_kind(head: bytes) -> MediaKind | None:
    r"""Return the kind of a file; ``None`` for what is not taken.

    Args:
        head: Its first ``HEAD_BYTES`` bytes, or all of it.

    Example:
        >>> media_kind(b"\xff\xd8\xff\xe0").mime
        'image/jpeg'
        >>> media_kind(b"#EXTM3U\nfile:///home/me/secret.mp4") is None
        True
    """
    # FFmpeg takes a file for a playlist by text alone, which ends with the first null character.
    text = head[:HEAD_BYTES].partition(b"\0")[0].lower()
    if any(mark in text for mark in _PLAYLIST_MARKS):
        return None
    if head[4:8] == b"ftyp":
        return _AVIF if head[8:12] in _STILL_BRANDS else _MP4
    if head[4:8] in _QUICKTIME_BOXES:
        return _QUICKTIME
    if head[:4] == b"RIFF":
        return _RIFF_KINDS.get(head[8:12])
    if len(head) > 3 * _TRANSPORT_PACKET_BYTES and set(
        head[: 3 * _TRANSPORT_PACKET_BYTES : _TRANSPORT_PACKET_BYTES]
    ) == {0x47}:
        return MediaKind(".ts", "video/mp2t")
    return next((kind for start, kind in _STARTS if head.startswith(start)), None)
