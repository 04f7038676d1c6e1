"""Small manifests and dataset trees that tests of several rooms make."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_detect.data.manifest import rows_to_table, write_manifest
from deepfake_detect.records import CropGeometry

_USUAL = CropGeometry()


def crop_manifest(
    folder: Path, crops: list[tuple[str, int, str, np.ndarray]], *, geometry: CropGeometry = _USUAL
) -> Path:
    """Write crops given as (name, label, split, RGB image), one video each; return the manifest."""
    (folder / "crops").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for name, label, split, image in crops:
        cv2.imwrite(str(folder / "crops" / f"{name}.png"), image[..., ::-1])
        method = "Made" if label else "original"
        rows.append(
            {
                "dataset": "made",
                "video_id": f"made/{method}/{name}",
                "method": method,
                "label": label,
                "split": split,
                "target_id": name.removeprefix("fake-"),
                "frame_index": 0,
                "time_seconds": 0.0,
                "track_id": 0,
                "path": f"crops/{name}.png",
                "native_size": len(image),
            }
        )
    write_manifest(folder / "manifest.parquet", rows_to_table(rows), geometry=geometry)
    return folder / "manifest.parquet"


def textured_crops(
    num_pairs: int, split: str, *, size: int = 64, seed: int = 0
) -> list[tuple[str, int, str, Any]]:
    """Pairs of a noise image and its forgery with a smooth center: easy to distinguish."""
    rng = np.random.default_rng(seed)
    crops = []
    for number in range(num_pairs):
        real = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        fake = real.copy()
        fake[size // 4 : -size // 4, size // 4 : -size // 4] = cv2.blur(real, (9, 9))[
            size // 4 : -size // 4, size // 4 : -size // 4
        ]
        crops += [(f"{split}{number}", 0, split, real), (f"fake-{split}{number}", 1, split, fake)]
    return crops


def ffpp_tree(root: Path, clips: dict[str, Path]) -> Path:
    """Copy clips into a FaceForensics++ tree; keys are like ``Deepfakes/c23/000_003``."""
    for key, source in clips.items():
        method, compression, name = key.split("/")
        top = "original_sequences" if method in ("youtube", "actors") else "manipulated_sequences"
        target = root / top / method / compression / "videos" / f"{name}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return root
