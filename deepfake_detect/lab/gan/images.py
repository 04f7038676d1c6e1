"""Training images of a GAN: MNIST files, a folder of images, or a manifest's real crops.

All are held in memory at one size. An image that is not square is cropped to its center. Larger images
are shrunk by area averaging; smaller ones are enlarged, or rejected below a quarter of the size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import MANIFEST_NAME, read_manifest
from deepfake_detect.data.transforms import resize_square
from deepfake_detect.errors import DatasetLayoutError, ManifestError, OptionError
from deepfake_detect.lab.gan.config import MNIST_NAME, MNIST_VARIABLE
from deepfake_detect.lab.labeled_images import read_labeled
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import REAL, CropGeometry

_MNIST_FILES = "train-images-idx3-ubyte*"
_SUFFIXES = {".png", ".jpg", ".jpeg"}
_MAX_BYTES = 16 * 2**30
_MAX_ENLARGEMENT = 4


@dataclass(frozen=True, eq=False)
class GanImages:
    """Images that a GAN is trained on.

    Attributes:
        images: uint8 (N, S, S, C), C being 1 (gray) or 3 (RGB).
        held_out: uint8 (M, S, S, C), images of the same source that it is not trained on; M is 0
            where the source has none.
        dataset: Name of the source.
        people: Person in each of ``images``, or its video where the person is unknown; ``None`` for
            images that are independent of each other.
        geometry: How the crops were cut; the default for other images.
        notes: How the images were read, one line each.
    """

    images: np.ndarray
    held_out: np.ndarray
    dataset: str
    people: tuple[str | None, ...]
    geometry: CropGeometry
    notes: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Return a hash of the images, by which a resumed run recognizes its data."""
        return hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()


def read_gan_images(
    data: str | os.PathLike[str],
    *,
    image_size: int,
    rgb: bool = False,
    mnist_root: Path | None = None,
    where: str | None = None,
    out: Path | None = None,
    show_progress: bool = True,
) -> GanImages:
    """Read the training images of a GAN.

    Args:
        data: ``"mnist"``; a folder with MNIST's idx files in or below it; a manifest, or the folder
            with ``manifest.parquet`` (its real crops: those of split train if it has splits); or a
            folder with PNG and JPEG images in or below it.
        image_size: Side S in pixels that all are resized to.
        rgb: Whether gray images get three equal channels. Otherwise, if all images are gray, they keep
            one channel.
        mnist_root: Folder of MNIST's files for ``"mnist"``; the environment variable
            ``DEEPFAKE_DETECT_MNIST`` when ``None``.
        where: SQL condition for rows of a manifest, instead of split train.
        out: Folder of the run. It must not be inside a folder of images: the next run would read its
            samples as real images.
        show_progress: Whether to show a progress bar.

    Raises:
        DatasetLayoutError: There is no such folder, it has fewer than two images, or one of them
            cannot be read or is smaller than a quarter of ``image_size``.
        ManifestError: The manifest cannot be read, or has fewer than two such crops.
        OptionError: MNIST's folder is not given, ``where`` is given without a manifest, ``out`` is
            inside the folder of images, or the images need more than 16 GiB of memory.
    """
    path = _mnist_folder(mnist_root) if str(data) == MNIST_NAME else Path(data)
    is_manifest = path.suffix == ".parquet" or (path / MANIFEST_NAME).is_file()
    if where is not None and not is_manifest:
        raise OptionError("where", f"{path} is not a manifest", "omit it, or pass a manifest")
    if is_manifest:
        return _read_manifest(path, where, image_size, show_progress)
    if not path.is_dir():
        raise DatasetLayoutError(path, "is not a folder", "pass mnist, a folder of images or a manifest")
    if next(path.rglob(_MNIST_FILES), None):
        return _read_mnist(path, image_size, rgb)
    if out is not None and out.resolve().is_relative_to(path.resolve()):
        cause = f"is inside the images of {path}: samples would be read as real images"
        raise OptionError("out", cause, "pass another folder")
    return _read_folder(path, image_size, rgb, show_progress)


def _mnist_folder(root: Path | None) -> Path:
    given = root or os.environ.get(MNIST_VARIABLE)
    if not given:
        cause = f"is not given, and the environment variable {MNIST_VARIABLE} is not set"
        raise OptionError("mnist_root", cause, "pass the folder with MNIST's idx files")
    folder = Path(given)
    if not folder.is_dir() or not next(folder.rglob(_MNIST_FILES), None):
        remedy = "download them, or pass another folder"
        raise DatasetLayoutError(folder, "contains no idx files of MNIST", remedy)
    return folder


def _read_mnist(path: Path, image_size: int, rgb: bool) -> GanImages:
    read = read_labeled(path)
    images, held_out = (
        _stacked((np.atleast_3d(resize_square(one, image_size)) for one in part), rgb=rgb)
        for part in (read.train_images, read.test_images)
    )
    notes = [f"MNIST: {len(images):,} training images; {len(held_out):,} test images are held out"]
    if image_size != read.train_images.shape[1]:
        notes.append(f"they were resized from 28 to {image_size} pixels")
    return GanImages(images, held_out, "MNIST", (None,) * len(images), CropGeometry(), tuple(notes))


def _read_folder(path: Path, image_size: int, rgb: bool, show_progress: bool) -> GanImages:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    _check_count(path, len(files), image_size)
    squares, num_enlarged = [], 0
    for file in _with_progress(files, show_progress):
        data = np.frombuffer(file.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if image is None:
            raise DatasetLayoutError(file, "cannot be read as an image", "remove it, or replace it")
        square, is_enlarged = _square(file, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), image_size)
        squares.append(square)
        num_enlarged += is_enlarged
    all_gray = all(_is_gray(one) for one in squares)
    has_one_channel = all_gray and not rgb
    images = _stacked((one[..., :1] if has_one_channel else one for one in squares), rgb=rgb)
    notes = [f"{path}: {counted(len(images), 'image')}, {'gray' if has_one_channel else 'RGB'}"]
    if rgb and all_gray:
        notes.append("all of them are gray: their three channels are equal")
    notes += _enlargement_notes(num_enlarged, image_size)
    name = path.resolve().name
    return GanImages(images, images[:0], name, (None,) * len(images), CropGeometry(), tuple(notes))


def _read_manifest(path: Path, where: str | None, image_size: int, show_progress: bool) -> GanImages:
    manifest = read_manifest(path)
    rows = manifest.where(f"label = {REAL}")
    if where is not None:
        rows = rows.where(where)
    elif rows.where("split is not null").num_rows:
        rows = rows.where("split = 'train'")
    if rows.num_rows < 2:
        cause = f"{rows.num_rows} of its rows are real crops to train on"
        raise ManifestError(manifest.path, cause, "pass another `where` or manifest: two or more are needed")
    _check_count(manifest.path, rows.num_rows, image_size)
    table = rows.columns(["path", "target_id", "video_id", "dataset"]).to_pydict()
    images, num_enlarged = [], 0
    for file in _with_progress([rows.root / name for name in table["path"]], show_progress):
        square, is_enlarged = _square(file, read_crop(file), image_size)
        images.append(square)
        num_enlarged += is_enlarged
    people = tuple(
        person or video for person, video in zip(table["target_id"], table["video_id"], strict=True)
    )
    chosen = where or "real crops of split train, if there are splits"
    notes = (
        f"{manifest.path}: {counted(len(images), 'crop')} ({chosen})",
        *_enlargement_notes(num_enlarged, image_size),
    )
    stacked = np.stack(images)
    return GanImages(stacked, stacked[:0], table["dataset"][0], people, rows.geometry, notes)


def _check_count(path: Path, count: int, image_size: int) -> None:
    if count < 2:
        found = "one image" if count else "no PNG or JPEG image"
        remedy = "a GAN needs two or more, and thousands for good samples"
        raise DatasetLayoutError(path, f"contains {found}", remedy)
    num_bytes = count * image_size**2 * 3
    if num_bytes > _MAX_BYTES:
        cause = f"{counted(count, 'image')} of {image_size} pixels need {num_bytes / 2**30:.0f} GiB of memory"
        raise OptionError(path, cause, "choose fewer with `where`, or a smaller `image_size`")


def _square(path: Path, image: np.ndarray, size: int) -> tuple[np.ndarray, bool]:
    """Return the center square of an image at the given size, and whether it was enlarged."""
    side = min(image.shape[:2])
    if side * _MAX_ENLARGEMENT < size:
        cause = f"is {image.shape[1]} x {image.shape[0]} pixels, too small to be enlarged to {size}"
        raise DatasetLayoutError(path, cause, "remove it, or pass a smaller `image_size`")
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return resize_square(image[top : top + side, left : left + side], size), side < size


def _stacked(images: Iterator[np.ndarray], *, rgb: bool) -> np.ndarray:
    stacked = np.stack(list(images))
    return np.repeat(stacked, 3, axis=3) if rgb and stacked.shape[3] == 1 else stacked


def _is_gray(image: np.ndarray) -> bool:
    return bool((image[..., :1] == image).all())


def _enlargement_notes(count: int, image_size: int) -> list[str]:
    return [f"{count:,} were smaller than {image_size} pixels and were enlarged"] if count else []


def _with_progress(paths: Sequence[Path], show_progress: bool) -> Iterator[Path]:
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("images", total=len(paths), note="")
        for path in paths:
            yield path
            progress.advance(task)
