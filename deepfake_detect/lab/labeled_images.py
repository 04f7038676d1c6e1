"""Small sets of labeled images, held in memory: MNIST files, or a folder or tar per class."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.errors import DatasetLayoutError

_MNIST = {"train": "train", "test": "t10k"}
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
_IDX_UBYTE = 8  # third byte of an idx file that holds bytes


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images of one size with their classes.

    Attributes:
        train_images, test_images: uint8 (N, H, W, C), C being 1 (gray) or 3 (RGB).
        train_labels, test_labels: int64 (N,), index into ``class_names``.
        class_names: In order.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


def read_labeled(root: Path) -> LabeledImages:
    """Read a set of labeled images.

    Args:
        root: Folder with MNIST's four idx files (plain or gzipped) in it or below it; or with
            ``train`` and ``test`` (folders, or tars whose names end that way), each with a folder of
            images per class, all of one size.

    Raises:
        DatasetLayoutError: It is neither, a file is damaged, or images differ in size.
    """
    if not root.is_dir():
        raise DatasetLayoutError(root, "is not a folder", "pass the folder of the images")
    if mnist := next((path.parent for path in sorted(root.rglob("train-images-idx3-ubyte*"))), None):
        return _read_mnist(mnist)
    parts = {name: _read_part(root, name) for name in ("train", "test")}
    names = tuple(sorted(set(parts["train"][1])))
    if unknown := set(parts["test"][1]) - set(names):
        raise DatasetLayoutError(
            root, f"has no training images of {min(unknown)}", "add them, or remove the class"
        )
    numbers = {name: number for number, name in enumerate(names)}
    (train_images, train_classes), (test_images, test_classes) = parts["train"], parts["test"]
    train_labels, test_labels = (
        np.array([numbers[name] for name in classes], np.int64) for classes in (train_classes, test_classes)
    )
    return LabeledImages(train_images, train_labels, test_images, test_labels, names)


def _read_mnist(folder: Path) -> LabeledImages:
    images = {name: _read_idx(folder, f"{stem}-images-idx3-ubyte", 3) for name, stem in _MNIST.items()}
    labels = {name: _read_idx(folder, f"{stem}-labels-idx1-ubyte", 1) for name, stem in _MNIST.items()}
    for name in _MNIST:
        if len(images[name]) != len(labels[name]):
            counts = f"{len(images[name])} {name} images and {len(labels[name])} labels"
            raise DatasetLayoutError(folder, f"contains {counts}", "download the files again")
    return LabeledImages(
        images["train"][..., None],
        labels["train"].astype(np.int64),
        images["test"][..., None],
        labels["test"].astype(np.int64),
        tuple(str(digit) for digit in range(10)),
    )


def _read_idx(folder: Path, name: str, num_dimensions: int) -> np.ndarray:
    """Read an idx file: two zero bytes, type, number of dimensions, big-endian lengths, values."""
    path = next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), folder / name)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DatasetLayoutError(path, f"cannot be read ({error})", "download the file again") from error
    start = 4 + 4 * num_dimensions
    shape = tuple(int(length) for length in np.frombuffer(data[4:start], ">u4"))
    is_whole = len(shape) == num_dimensions and len(data) == start + int(np.prod(shape))
    if data[:4] != bytes((0, 0, _IDX_UBYTE, num_dimensions)) or not is_whole:
        raise DatasetLayoutError(path, "is not a complete idx file", "download the file again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()  # writable


def _read_part(root: Path, name: str) -> tuple[np.ndarray, list[str]]:
    """Return the images of ``train`` or ``test``, and the class of each."""
    tar = next((path for path in sorted(root.glob("*.tar")) if path.stem.endswith(name)), None)
    if tar is None and not (root / name).is_dir():
        raise DatasetLayoutError(
            root, f"has neither a folder nor a tar for {name!r}", "name them train and test, or pass MNIST"
        )
    images: list[np.ndarray] = []
    classes: list[str] = []
    for class_name, path, data in _members(tar) if tar else _files(root / name):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is None:
            raise DatasetLayoutError(path, "cannot be read as an image", "remove it, or replace it")
        if images and image.shape != images[0].shape:
            cause = f"has another size than the others {image.shape}"
            raise DatasetLayoutError(path, cause, "resize all images to one size")
        images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        classes.append(class_name)
    if not images:
        raise DatasetLayoutError(tar or root / name, "contains no images", "add a folder of images per class")
    return np.stack(images), classes


def _members(tar: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield class, path and content of each image of a tar."""
    with tarfile.open(tar) as archive:
        for member in archive:
            path = Path(member.name)
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and path.suffix.lower() in _SUFFIXES:
                yield path.parent.name, f"{tar}/{path}", content.read()


def _files(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield class, path and content of each image below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and path.is_file():
            yield path.parent.name, str(path), path.read_bytes()
