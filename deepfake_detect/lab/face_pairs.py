"""Pairs of images of people, in the form of Labeled Faces in the Wild: ``pairs.txt``, and the images."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import cv2
import numpy as np

from deepfake_detect.data.shards import decode_image
from deepfake_detect.errors import DatasetLayoutError

_SUFFIXES = (".jpg", ".jpeg", ".png")
_FORM = "write NAME NUMBER NUMBER for one person, NAME NUMBER NAME NUMBER for two, with tabs between"


@dataclass(frozen=True)
class FacePair:
    """Two images, such as ``"Ann_Lee_0001"``.

    Attributes:
        first, second: Names of the images, without folder and suffix.
        is_same: Whether both show one person.
        fold: Fold of the protocol, from 0.
    """

    first: str
    second: str
    is_same: bool
    fold: int


def read_pairs(path: str | os.PathLike[str]) -> list[FacePair]:
    """Read a file in the form of LFW's ``pairs.txt``.

    Raises:
        DatasetLayoutError: It cannot be read, or is of another form.
    """
    file = Path(path)
    try:
        rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetLayoutError(file, f"cannot be read ({error})", "pass a file like pairs.txt") from error
    header = rows[0] if rows else []
    if len(header) not in (1, 2) or not all(word.isdecimal() and int(word) > 0 for word in header):
        cause = "does not start with the number of folds and the number of pairs of each kind per fold"
        raise DatasetLayoutError(file, cause, "write them in its first line, such as 10 and 300")
    num_folds, num_pairs = (1, int(header[0])) if len(header) == 1 else (int(header[0]), int(header[1]))
    if len(rows) - 1 != 2 * num_folds * num_pairs:
        cause = f"has {len(rows) - 1:,} pairs, but its first line says {2 * num_folds * num_pairs:,}"
        raise DatasetLayoutError(file, cause, "download it again, or correct the first line")
    return [_pair(file, row, number // (2 * num_pairs)) for number, row in enumerate(rows[1:])]


def _pair(file: Path, row: list[str], fold: int) -> FacePair:
    """Return the pair of a line."""
    names, numbers = (row[:1], row[1:]) if len(row) == 3 else (row[::2], row[1::2])
    if len(row) not in (3, 4) or not all(number.isdecimal() for number in numbers):
        raise DatasetLayoutError(file, f"has the line {' '.join(row)!r}", _FORM)
    first, second = (f"{name}_{int(n):04d}" for name, n in zip(names * (5 - len(row)), numbers, strict=False))
    return FacePair(first, second, is_same=len(row) == 3, fold=fold)


class PeopleImages:
    """Images ``NAME/NAME_0001.jpg`` of a folder or tar, by their names without folder and suffix.

    Args:
        root: Folder or tar; folders above those of the people do not matter.

    Raises:
        DatasetLayoutError: It cannot be read, holds no image, or one name twice.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)
        self._tar: tarfile.TarFile | None = None
        if not self._root.is_dir():
            try:
                self._tar = tarfile.open(self._root)  # noqa: SIM115 - closed by __exit__
            except (OSError, tarfile.TarError) as error:
                cause = "is neither a folder nor a tar that can be read"
                raise DatasetLayoutError(self._root, cause, "pass the images of the people") from error
        self._paths: dict[str, str] = {}
        for path in self._listed():
            if self._paths.setdefault(PurePosixPath(path).stem, path) != path:
                self.close()
                cause = f"contains {PurePosixPath(path).name} twice"
                raise DatasetLayoutError(self._root, cause, "pass the folder of one set of images")
        if not self._paths:
            self.close()
            raise DatasetLayoutError(self._root, "contains no images", f"they end in {', '.join(_SUFFIXES)}")

    def _listed(self) -> Iterator[str]:
        """Yield the paths of the images."""
        if self._tar is not None:
            paths = (member.name for member in self._tar if member.isfile())
        else:
            paths = (path.as_posix() for path in sorted(self._root.rglob("*")) if path.is_file())
        return (path for path in paths if path.lower().endswith(_SUFFIXES))

    def read(self, name: str) -> np.ndarray:
        """Return an image as RGB uint8 (H, W, 3).

        Raises:
            DatasetLayoutError: It is missing, or not an image.
        """
        path = self._paths.get(name)
        if path is None:
            raise DatasetLayoutError(self._root, f"has no image {name}", "pass the images of these pairs")
        if self._tar is None:
            data = Path(path).read_bytes()
        else:
            member = self._tar.extractfile(path)
            data = b"" if member is None else member.read()
        image = decode_image(data)
        if image is None:
            raise DatasetLayoutError(Path(path), "is not a readable image", "download it again")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Close the tar."""
        if self._tar is not None:
            self._tar.close()

    def __enter__(self) -> PeopleImages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
