"""Comparing an exported detector with the original on the same crops."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.crops import crop_fraction, read_crop
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.data.transforms import center_crop, resize_crop
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.faces import track_faces
from deepfake_detect.metrics import roc_auc
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.runtimes.faces import face_finder
from deepfake_detect.runtimes.sessions import default_num_threads
from deepfake_detect.video import EvenlySpaced, read_frames

DEMO_CLIP = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
"""The demonstration clip of a checkout; an installed package has none."""
_NUM_DEMO_FRAMES = 32
_BATCH_SIZE = 16
_PATTERN_CELLS = (2, 3, 5, 8, 13, 21, 34, 55, 89, 144)


@dataclass(frozen=True, eq=False)
class LabeledCrops:
    """Crops in the input size of a network.

    Attributes:
        images: RGB uint8 (N, S, S, 3).
        labels: int64 (N,), 1 = fake; ``None`` where unknown.
        source: Description of where they come from.
    """

    images: np.ndarray
    labels: np.ndarray | None
    source: str


@dataclass(frozen=True)
class Agreement:
    """How far an export differs from the original.

    Attributes:
        num_crops: Crops that both scored.
        source: Description of where they come from.
        largest_difference: Of the fake probabilities.
        auc, auc_original: ``None`` unless there are real and fake crops.
    """

    num_crops: int
    source: str
    largest_difference: float
    auc: float | None
    auc_original: float | None

    @property
    def auc_difference(self) -> float | None:
        """Difference of the AUCs; ``None`` without them."""
        if self.auc is None or self.auc_original is None:
            return None
        return abs(self.auc - self.auc_original)

    def line(self) -> str:
        """Return the comparison in one line.

        Example:
            >>> Agreement(32, "demo.mp4", 0.00012, None, None).line()
            'largest difference of the probabilities 1.2e-04 on 32 crops of demo.mp4'
        """
        words = (
            f"largest difference of the probabilities {self.largest_difference:.1e} on {self.num_crops:,} "
            f"crops of {self.source}"
        )
        if self.auc is None:
            return words
        return f"{words}; AUC {self.auc:.4f}, of the original {self.auc_original:.4f}"


def compare(
    original: Callable[[np.ndarray], np.ndarray],
    exported: Callable[[np.ndarray], np.ndarray],
    crops: LabeledCrops,
) -> Agreement:
    """Score crops with two networks.

    Args:
        original, exported: From uint8 (N, S, S, 3) to fake probabilities (N,).
        crops: One or more.
    """
    batches = [crops.images[n : n + _BATCH_SIZE] for n in range(0, len(crops.images), _BATCH_SIZE)]
    found: list[list[np.ndarray]] = [[], []]
    with progress_bar() as progress:
        task = progress.add_task("comparing", total=len(batches), note="batches of crops")
        for batch in batches:
            for probabilities, score in zip(found, (original, exported), strict=True):
                probabilities.append(score(batch).astype(np.float64))
            progress.advance(task)
    theirs, ours = (np.concatenate(parts) for parts in found)
    labels = crops.labels
    has_both = labels is not None and set(labels.tolist()) == {REAL, FAKE}
    return Agreement(
        num_crops=len(ours),
        source=crops.source,
        largest_difference=float(np.abs(ours - theirs).max()),
        auc=float(roc_auc(labels, ours)) if labels is not None and has_both else None,
        auc_original=float(roc_auc(labels, theirs)) if labels is not None and has_both else None,
    )


def crops_of_manifest(
    path: str | os.PathLike[str], config: DetectorConfig, *, max_crops: int
) -> LabeledCrops:
    """Read crops of a manifest, evenly spaced over its rows.

    Args:
        path: Manifest, or its folder.
        config: Of the detector, for geometry and size.
        max_crops: Largest number of crops.

    Raises:
        ManifestError: The manifest or a crop cannot be read.
        OptionError: The crops have a smaller margin than the detector's.
    """
    manifest = read_manifest(path)
    if not manifest.num_rows:
        raise ManifestError(path, "has no rows", "pass a manifest with crops")
    fraction = crop_fraction(manifest.geometry, config.geometry)
    rows = np.unique(
        np.linspace(0, manifest.num_rows - 1, min(max_crops, manifest.num_rows)).round().astype(int)
    )
    columns = manifest.columns(["path", "label"]).take(rows)
    images = [
        resize_crop(center_crop(read_crop(manifest.root / name), fraction), config.model.preprocessing)
        for name in columns["path"].to_pylist()
    ]
    labels = columns["label"].to_numpy().astype(np.int64)
    return LabeledCrops(np.stack(images), labels, Path(path).name)


def generated_crops(config: DetectorConfig) -> LabeledCrops:
    """Return patterns from coarse to fine, for where there are no faces; always the same."""
    size, randomness = config.model.preprocessing.image_size, np.random.default_rng(0)
    patterns = [randomness.integers(256, size=(cells, cells, 3), dtype=np.uint8) for cells in _PATTERN_CELLS]
    images = [cv2.resize(one, (size, size), interpolation=cv2.INTER_CUBIC) for one in patterns]
    return LabeledCrops(np.stack(images), None, "generated patterns")


def crops_of_demo(config: DetectorConfig, *, clip: Path = DEMO_CLIP) -> LabeledCrops:
    """Cut the faces out of the demonstration clip.

    Raises:
        OptionError: It does not exist, as in an installed package.
    """
    if not clip.is_file():
        raise OptionError(
            "verify", "is required if there is no demonstration clip", "pass a manifest of crops"
        )
    finder = face_finder("onnx", num_threads=default_num_threads(), min_face=None)
    frames = read_frames(clip, sampling=EvenlySpaced(_NUM_DEMO_FRAMES))
    with closing(frames):
        followed = list(track_faces(frames, detector=finder, geometry=config.geometry))
    preprocessing = config.model.preprocessing
    images = [resize_crop(face.crop, preprocessing) for frame in followed for face in frame.faces]
    return LabeledCrops(np.stack(images), None, clip.name)
