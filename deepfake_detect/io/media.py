"""Media files by their first bytes: the container of a file, regardless of its name.

FFmpeg also reads playlists: text files that name other files, which it then opens. A file from a
stranger could make it read this computer's files that way, so only known containers pass
:func:`media_kind`.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 2**20
"""How many bytes of a file :func:`media_kind` needs."""

# First box of an MP4 or MOV file, after its length; older MOV files have no ``ftyp``.
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"uuid"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_TRANSPORT_PACKET_BYTES = 188
# Of HLS, DASH, FFmpeg's own list of files, and session descriptions.
_PLAYLIST_MARKS = (b"#extm3u", b"<mpd", b"ffconcat", b"c=in ip")


@dataclass(frozen=True)
class MediaKind:
    """A kind of media file.

    Attributes:
        container: Its format: ``"mp4"`` also for MOV and HEIF, ``"matroska"`` also for WebM.
        suffix: Usual end of a file name.
        mime: Media type, such as a browser's player needs it.
        is_image: Whether it is a still or animated image rather than a video.
    """

    container: str
    suffix: str
    mime: str
    is_image: bool = False


_MP4 = MediaKind("mp4", ".mp4", "video/mp4")
_QUICKTIME = MediaKind("mp4", ".mov", "video/mp4")
_AVIF = MediaKind("mp4", ".avif", "image/avif", True)
_HEIC = MediaKind("mp4", ".heic", "image/heic", True)
_TIFF = MediaKind("tiff", ".tif", "image/tiff", True)
_TRANSPORT_STREAM = MediaKind("mpegts", ".ts", "video/mp2t")
_STARTS = (
    (b"\x1a\x45\xdf\xa3", MediaKind("matroska", ".webm", "video/webm")),
    (b"FLV\x01", MediaKind("flv", ".flv", "video/x-flv")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", MediaKind("asf", ".wmv", "video/x-ms-wmv")),
    (b"OggS", MediaKind("ogg", ".ogv", "video/ogg")),
    (b"\x00\x00\x01\xba", MediaKind("mpeg", ".mpg", "video/mpeg")),
    (b"\x89PNG\r\n\x1a\n", MediaKind("png", ".png", "image/png", True)),
    (b"\xff\xd8\xff", MediaKind("jpeg", ".jpg", "image/jpeg", True)),
    (b"GIF87a", MediaKind("gif", ".gif", "image/gif", True)),
    (b"GIF89a", MediaKind("gif", ".gif", "image/gif", True)),
    (b"II*\0", _TIFF),
    (b"MM\0*", _TIFF),
    (b"II+\0", _TIFF),
    (b"MM\0+", _TIFF),
    (b"BM", MediaKind("bmp", ".bmp", "image/bmp", True)),
    (b"\0\0\0\x0cjP  ", MediaKind("jpeg2000", ".jp2", "image/jp2", True)),
    (b"P5", MediaKind("pnm", ".pgm", "image/x-portable-graymap", True)),
    (b"P6", MediaKind("pnm", ".ppm", "image/x-portable-pixmap", True)),
)
_RIFF_KINDS = {
    b"AVI ": MediaKind("avi", ".avi", "video/x-msvideo"),
    b"WEBP": MediaKind("webp", ".webp", "image/webp", True),
}


def media_kind(head: bytes) -> MediaKind | None:
    r"""Return the kind of a file, or ``None`` for a playlist and what is not known here.

    Args:
        head: Its first ``HEAD_BYTES`` bytes, or all of it.

    Example:
        >>> media_kind(b"\xff\xd8\xff\xe0").mime
        'image/jpeg'
        >>> media_kind(b"#EXTM3U\nfile:///home/me/secret.mp4") is None
        True
    """
    return None if is_playlist(head) else container_kind(head)


def is_playlist(head: bytes) -> bool:
    r"""Return whether FFmpeg could take a file for a list of other files.

    Args:
        head: Its first ``HEAD_BYTES`` bytes, or all of it.

    Example:
        >>> is_playlist(b"ffconcat version 1.0\nfile /home/me/secret.mp4")
        True
    """
    # FFmpeg recognizes a playlist by its text alone, which ends with the first null character.
    text = head[:HEAD_BYTES].partition(b"\0")[0].lower()
    return any(mark in text for mark in _PLAYLIST_MARKS)


def container_kind(head: bytes) -> MediaKind | None:
    r"""Return what container a file begins as; unlike :func:`media_kind`, playlists are not looked for.

    Args:
        head: Its first bytes; 12 are enough for all but MPEG transport streams.

    Example:
        >>> container_kind(b"RIFF\x24\0\0\0AVI ").container
        'avi'
    """
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return _AVIF if brand in _AVIF_BRANDS else _HEIC if brand in _HEIC_BRANDS else _MP4
    if head[4:8] in _MP4_BOXES:
        return _QUICKTIME
    if head[:4] == b"RIFF":
        return _RIFF_KINDS.get(head[8:12])
    if _is_transport_stream(head):
        return _TRANSPORT_STREAM
    return next((kind for start, kind in _STARTS if head.startswith(start)), None)


def _is_transport_stream(head: bytes) -> bool:
    num_bytes = 3 * _TRANSPORT_PACKET_BYTES
    return len(head) > num_bytes and set(head[:num_bytes:_TRANSPORT_PACKET_BYTES]) == {0x47}
