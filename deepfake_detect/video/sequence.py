"""Frames that are stored as images: in a folder, or in a folder inside a tar.

Datasets such as WildDeepfake and DF40 contain sequences of images instead of videos. The images of a
folder are its frames, in the order of the numbers in their names (``2.png`` before ``10.png``). Their
times are not known and are NaN.
"""

from __future__ import annotations

import math
import re
import tarfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepfake_detect.errors import VideoUnreadableError
from deepfake_detect.records import Frame, VideoMetadata
from deepfake_detect.video.files import IMAGE_SUFFIXES
from deepfake_detect.video.sampling import Sampling
from deepfake_detect.video.stills import decode_image

_ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_REMEDY = "download or unpack it again"
_DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error)  # tarfile passes on zlib's on Python 3.11


@dataclass(frozen=True)
class ImageSequence:
    """The images of a sequence.

    Attributes:
        path: Path of the sequence as given.
        archive: The tar that holds the images; ``None`` for a folder.
        names: Paths of the images, in order: inside the archive, or files.
    """

    path: Path
    archive: Path | None
    names: tuple[str, ...]


def find_sequence(path: Path) -> ImageSequence | None:
    """Return the sequence at a path, or ``None`` if the path is neither a folder nor in a tar.

    Args:
        path: A folder, or ``<tar>/<folder inside>``.

    Raises:
        VideoUnreadableError: The folder holds no image, or the tar is damaged.
    """
    archive = next((p for p in path.parents if p.name.endswith(_ARCHIVE_ENDINGS) and p.is_file()), None)
    if path.is_dir():
        names = [str(file) for file in path.iterdir() if _is_image(file.name)]
    elif archive is not None:
        names = _members(archive, path.relative_to(archive).as_posix())
    else:
        return None
    if not names:
        raise VideoUnreadableError(path, "contains no image", "pass a folder of frames, or a video file")
    return ImageSequence(path, archive, tuple(sorted(names, key=_natural_key)))


def read_sequence(sequence: ImageSequence, sampling: Sampling) -> Generator[Frame, None, None]:
    """Yield the sampled frames of a sequence, as :func:`read_frames` does.

    Raises:
        VideoUnreadableError: A sampled image cannot be read.
        OptionError: The sampling needs a frame rate.
    """
    wanted = list(sampling.frame_indices(_metadata(sequence)))
    return _frames(sequence, wanted)


def _frames(sequence: ImageSequence, wanted: Sequence[int]) -> Generator[Frame, None, None]:
    names = [sequence.names[index] for index in wanted]
    stored = _from_files(names) if sequence.archive is None else _from_tar(sequence.archive, names)
    for index, (name, data) in zip(wanted, stored, strict=True):
        path = Path(name) if sequence.archive is None else sequence.archive / name
        yield Frame(decode_image(data, name=path), index, math.nan)


def _from_files(names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        yield name, Path(name).read_bytes()


def _from_tar(archive: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Read members in one pass over the archive; few are wanted, so they are all kept in memory."""
    wanted, found = set(names), dict[str, bytes]()
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = _plain(member.name)
                file = members.extractfile(member) if name in wanted else None
                if file is not None:
                    found[name] = file.read()
                if len(found) == len(wanted):
                    break
    except _DAMAGE as error:
        raise VideoUnreadableError(archive, f"is damaged ({error})", _REMEDY) from error
    for name in names:
        yield name, found[name]


def _members(archive: Path, folder: str) -> list[str]:
    try:
        with tarfile.open(archive) as members:
            names = [_plain(member.name) for member in members if member.isfile()]
    except _DAMAGE as error:
        raise VideoUnreadableError(archive, f"is damaged ({error})", _REMEDY) from error
    return [name for name in names if str(PurePosixPath(name).parent) == folder and _is_image(name)]


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _is_image(name: str) -> bool:
    pure = PurePosixPath(name)
    return pure.suffix.lower() in IMAGE_SUFFIXES and not pure.name.startswith(".")


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", PurePosixPath(name).name)
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts]


def _metadata(sequence: ImageSequence) -> VideoMetadata:
    """Return metadata for a sampling policy: the number of frames, and no rate."""
    count = len(sequence.names)
    return VideoMetadata(
        path=sequence.path,
        codec="pictures",  # codespell:ignore pictures
        pixel_format="rgb24",
        width=0,
        height=0,
        rotation_degrees=0,
        frames_per_second=0.0,
        num_frames=count,
        num_frames_declared=None,
        duration_seconds=math.nan,
        is_truncated=False,
    )
