"""Pictures that a GAN learns from: MNIST's files, a folder of pictures, or a manifest's real crops.

All are held in memory, of one size. What is not square is cut to its middle; what is larger is
shrunk by area, what is smaller enlarged, down to a quarter of the size, below which it is refused.
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
from deepfake_detect.lab.gan.config import MNIST_VARIABLE, MNIST_WORD
from deepfake_detect.lab.labeled_images import read_labeled
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import REAL, CropGeometry

_MNIST_FILES = "train-images-idx3-ubyte*"
_SUFFIXES = {".png", ".jpg", ".jpeg"}
_MOST_BYTES = 16 * 2**30
_MOST_ENLARGED = 4  # times


@dataclass(frozen=True, eq=False)
class GanPictures:
    """What a GAN learns from.

    Attributes:
        images: uint8 (N, S, S, C), C being 1 (gray) or 3 (RGB).
        held_out: uint8 (M, S, S, C), pictures of the same source that it does not learn from; M is 0
            where the source has none.
        dataset: Name of the source.
        people: Who is seen in each of ``images``, or its video where that is not known; ``None`` in
            pictures that nothing binds to others.
        geometry: How the crops were cut; of other pictures the default's, said of all crops of
            unknown cut.
        notes: What was done to them, a line each.
    """

    images: np.ndarray
    held_out: np.ndarray
    dataset: str
    people: tuple[str | None, ...]
    geometry: CropGeometry
    notes: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Return a hash of the images, to tell a resumed run's data from others."""
        return hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()


def read_gan_pictures(
    data: str | os.PathLike[str],
    *,
    image_size: int,
    rgb: bool = False,
    mnist_root: Path | None = None,
    where: str | None = None,
    out: Path | None = None,
    show_progress: bool = True,
) -> GanPictures:
    """Read what a GAN shall learn from.

    Args:
        data: ``"mnist"``; a folder with MNIST's idx files in or below it; a manifest, or the folder
            with ``manifest.parquet`` (its real crops: those of split train where there is one); or
            a folder of PNG and JPEG pictures, also below it.
        image_size: Side S in pixels that all are brought to.
        rgb: Whether gray pictures get three equal channels. Else pictures that are gray without
            exception stay so, in one channel.
        mnist_root: Where MNIST lies for ``"mnist"``; the environment's ``DEEPFAKE_DETECT_MNIST``
            when ``None``.
        where: SQL condition for rows of a manifest, in place of split train.
        out: Folder of the run. It must not lie in a folder of pictures, where the next run would
            take its samples for real ones.
        show_progress: Whether to draw a progress bar.

    Raises:
        DatasetLayoutError: There is no such folder, it holds fewer than two pictures, or one of
            them cannot be read or is smaller than a quarter of ``image_size``.
        ManifestError: The manifest cannot be read, or has no such real crop.
        OptionError: MNIST's folder is not told, ``where`` goes with no manifest, ``out`` lies in
            the folder of pictures, or these would take more than 16 GiB of memory.
    """
    path = _mnist_folder(mnist_root) if str(data) == MNIST_WORD else Path(data)
    is_manifest = path.suffix == ".parquet" or (path / MANIFEST_NAME).is_file()
    if where is not None and not is_manifest:
        raise OptionError("where", f"{path} is no manifest", "leave it out, or pass a manifest")
    if is_manifest:
        return _read_manifest(path, where, image_size, show_progress)
    if not path.is_dir():
        raise DatasetLayoutError(path, "is no folder", "pass mnist, a folder of pictures or a manifest")
    if next(path.rglob(_MNIST_FILES), None):
        return _read_mnist(path, image_size, rgb)
    if out is not None and out.resolve().is_relative_to(path.resolve()):
        cause = f"lies in the pictures of {path}: samples would be taken for real ones"
        raise OptionError("out", cause, "pass another folder")
    return _read_folder(path, image_size, rgb, show_progress)


def _mnist_folder(root: Path | None) -> Path:
    told = root or os.environ.get(MNIST_VARIABLE)
    if not told:
        cause = f"neither --mnist-root nor the environment's {MNIST_VARIABLE} says where its files lie"
        raise OptionError(MNIST_WORD, cause, "pass the folder with its idx files")
    if not (folder := Path(told)).is_dir() or not next(folder.rglob(_MNIST_FILES), None):
        raise DatasetLayoutError(folder, "holds no idx files of MNIST", "fetch them, or pass another folder")
    return folder


def _read_mnist(path: Path, image_size: int, rgb: bool) -> GanPictures:
    read = read_labeled(path)
    images, held_out = (
        _stacked((np.atleast_3d(resize_square(one, image_size)) for one in part), rgb=rgb)
        for part in (read.train_images, read.test_images)
    )
    notes = [f"MNIST: {len(images):,} training images; {len(held_out):,} test images are held out"]
    if image_size != read.train_images.shape[1]:
        notes.append(f"they were resized from 28 to {image_size} pixels")
    return GanPictures(images, held_out, "MNIST", (None,) * len(images), CropGeometry(), tuple(notes))


def _read_folder(path: Path, image_size: int, rgb: bool, show_progress: bool) -> GanPictures:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    _check_count(path, len(files), image_size)
    pictures, num_enlarged = [], 0
    for file in _with_bar(files, show_progress):
        data = np.frombuffer(file.read_bytes(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if picture is None:
            raise DatasetLayoutError(file, "cannot be read as a picture", "leave it out, or mend it")
        fitted, is_enlarged = _fitted(file, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), image_size)
        pictures.append(fitted)
        num_enlarged += is_enlarged
    is_gray = not rgb and all(_is_gray(one) for one in pictures)
    images = _stacked((one[..., :1] if is_gray else one for one in pictures), rgb=rgb)
    notes = [f"{path}: {len(images):,} pictures, {'gray' if is_gray else 'RGB'}"]
    if rgb and all(_is_gray(one) for one in pictures):
        notes.append("all of them are gray: their three channels are equal")
    notes += _about_enlarged(num_enlarged, image_size)
    none = images[:0]
    name = path.resolve().name
    return GanPictures(images, none, name, (None,) * len(images), CropGeometry(), tuple(notes))


def _read_manifest(path: Path, where: str | None, image_size: int, show_progress: bool) -> GanPictures:
    manifest = read_manifest(path)
    rows = manifest.where(f"label = {REAL}")
    if where is not None:
        rows = rows.where(where)
    elif rows.where("split is not null").num_rows:
        rows = rows.where("split = 'train'")
    if rows.num_rows < 2:
        cause = f"{rows.num_rows} of its rows are real crops to learn from"
        raise ManifestError(manifest.path, cause, "pass another --where or manifest: two are needed")
    _check_count(manifest.path, rows.num_rows, image_size)
    table = rows.columns(["path", "target_id", "video_id", "dataset"]).to_pydict()
    images, num_enlarged = [], 0
    for place in _with_bar([rows.root / name for name in table["path"]], show_progress):
        fitted, is_enlarged = _fitted(place, read_crop(place), image_size)
        images.append(fitted)
        num_enlarged += is_enlarged
    named = zip(table["target_id"], table["video_id"], strict=True)
    people = tuple(person or video for person, video in named)
    chosen = where or "real crops of split train, where there are splits"
    notes = (
        f"{manifest.path}: {len(images):,} crops ({chosen})",
        *_about_enlarged(num_enlarged, image_size),
    )
    stacked = np.stack(images)
    return GanPictures(stacked, stacked[:0], table["dataset"][0], people, rows.geometry, notes)


def _check_count(path: Path, count: int, image_size: int) -> None:
    if count < 2:
        found = "one picture" if count else "no PNG or JPEG picture"
        raise DatasetLayoutError(path, f"holds {found}", "a GAN needs two at least, and thousands to be good")
    num_bytes = count * image_size**2 * 3
    if num_bytes > _MOST_BYTES:
        cause = f"{count:,} pictures of {image_size} pixels take {num_bytes / 2**30:.0f} GiB of memory"
        raise OptionError(path, cause, "choose fewer with --where, or a smaller --image-size")


def _fitted(place: Path, picture: np.ndarray, size: int) -> tuple[np.ndarray, bool]:
    """Return the middle square of a picture in the wanted size, and whether it had to grow."""
    side = min(picture.shape[:2])
    if side * _MOST_ENLARGED < size:
        cause = f"is {picture.shape[1]} x {picture.shape[0]} pixels, too small to be enlarged to {size}"
        raise DatasetLayoutError(place, cause, "leave it out, or pass a smaller --image-size")
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return resize_square(picture[top : top + side, left : left + side], size), side < size


def _stacked(images: Iterator[np.ndarray], *, rgb: bool) -> np.ndarray:
    stacked = np.stack(list(images))
    return np.repeat(stacked, 3, axis=3) if rgb and stacked.shape[3] == 1 else stacked


def _is_gray(image: np.ndarray) -> bool:
    return bool((image[..., :1] == image).all())


def _about_enlarged(count: int, image_size: int) -> list[str]:
    return [f"{count:,} were smaller than {image_size} pixels and were enlarged"] if count else []


def _with_bar(places: Sequence[Path], show_progress: bool) -> Iterator[Path]:
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("pictures", total=len(places), note="")
        for place in places:
            yield place
            progress.advance(task)
