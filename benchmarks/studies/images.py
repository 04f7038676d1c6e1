"""The images of a study: MNIST, a folder of classes such as CIFAR-10, or a manifest's face crops."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.studies.row_arguments import add_row_arguments
from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.errors import DatasetLayoutError, ManifestError, OptionError
from deepfake_detect.lab.labeled_images import LabeledImages, read_labeled

_SUBSET_SEED = 0  # the same images for every variant and seed


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the images of a study."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--mnist-root", type=Path, metavar="DIR", help="folder with MNIST's idx files")
    source.add_argument(
        "--cifar-root", type=Path, metavar="DIR", help="train and test, each with one folder per class"
    )
    source.add_argument("--manifest", type=Path, help="face crops: train on train, measure on val")
    parser.add_argument("--train-images", type=int, default=5000, metavar="N", help="at most (default 5000)")
    parser.add_argument("--test-images", type=int, default=2000, metavar="N", help="at most (default 2000)")
    parser.add_argument("--face-size", type=int, default=32, help="side of face crops (default 32 pixels)")
    add_row_arguments(parser)


def read_images(arguments: argparse.Namespace) -> tuple[str, LabeledImages]:
    """Return the name of the data and a subset of it, which is the same in every call.

    Raises:
        OptionError: A number is below 2.
        DatasetLayoutError, ManifestError: The data cannot be read, or its images are not square.
    """
    for option in ("train_images", "test_images", "face_size"):
        if getattr(arguments, option) < 2:
            raise OptionError(option, f"is {getattr(arguments, option)}", "must be 2 or more")
    counts = (arguments.train_images, arguments.test_images)
    if arguments.manifest is not None:
        return "faces", _read_faces(arguments, counts)
    name, root = (
        ("mnist", arguments.mnist_root) if arguments.mnist_root else ("cifar10", arguments.cifar_root)
    )
    images = read_labeled(root)
    _, height, width, _ = images.train_images.shape
    if height != width:
        raise DatasetLayoutError(root, f"has images of {width} x {height}", "make them square")
    train, test = (
        _chosen(len(labels), count)
        for labels, count in zip((images.train_labels, images.test_labels), counts, strict=True)
    )
    return name, replace(
        images,
        train_images=images.train_images[train],
        train_labels=images.train_labels[train],
        test_images=images.test_images[test],
        test_labels=images.test_labels[test],
    )


def images_sha256(images: LabeledImages) -> str:
    """Return a hash of images and labels, by which finished runs recognize their data."""
    digest = hashlib.sha256()
    for values in (images.train_images, images.train_labels, images.test_images, images.test_labels):
        digest.update(f"{values.shape} {values.dtype}\n".encode())
        digest.update(np.ascontiguousarray(values))
    return digest.hexdigest()


def _chosen(num_images: int, count: int) -> np.ndarray:
    return np.random.default_rng(_SUBSET_SEED).permutation(num_images)[:count]


def _read_faces(arguments: argparse.Namespace, counts: tuple[int, int]) -> LabeledImages:
    rows = read_manifest(arguments.manifest)
    rows = rows if arguments.where is None else rows.where(arguments.where)
    check_no_leak(rows, allowed=arguments.allow_leak)
    train, test = (
        _read_split(rows.split(split), count, arguments.face_size)
        for split, count in zip(("train", "val"), counts, strict=True)
    )
    return LabeledImages(*train, *test, ("real", "fake"))


def _read_split(rows: Manifest, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some crops of a split, uint8 (N, size, size, 3), and their labels, int64 (N,)."""
    columns = rows.columns(["path", "label"])
    columns = columns.take(_chosen(columns.num_rows, count))
    labels = columns["label"].to_numpy().astype(np.int64)
    if len(set(labels.tolist())) < 2:
        raise ManifestError(
            rows.path, "has crops of only one class in a split", "both need real and fake crops"
        )
    crops = [
        cv2.resize(read_crop(rows.root / path), (size, size), interpolation=cv2.INTER_AREA)
        for path in columns["path"].to_pylist()
    ]
    return np.stack(crops), labels
