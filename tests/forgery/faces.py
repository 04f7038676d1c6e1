"""Crops that know where their landmarks are, so that no detector is needed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.manifest import rows_to_table, write_manifest
from deepfake_detect.records import CropGeometry

GEOMETRY = CropGeometry(1.28)
SIDE = 64
# In the frame; the crop begins at (3, 3).
_BOX = (10.0, 10.0, 60.0, 60.0)
_LANDMARKS = ((25.0, 28.0), (45.0, 28.0), (35.0, 37.0), (27.0, 47.0), (43.0, 47.0))
LANDMARKS_IN_CROP = np.array(_LANDMARKS) - 3


def smooth_picture(seed: int, side: int = SIDE) -> np.ndarray:
    """Random patches of color, RGB uint8 (side, side, 3): a blend shows in them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def face_manifest(
    folder: Path, counts: dict[str, int], *, fakes: dict[str, int] | None = None, side: int = SIDE
) -> Path:
    """Write so many reals (and fakes) a split, each of its own person, with landmarks."""
    (folder / "crops").mkdir(parents=True)
    rows = []
    for label, numbers in enumerate((counts, fakes or {})):
        for split, count in numbers.items():
            for number in range(count):
                name = f"{split}{number}"
                path = f"crops/{'fake-' * label}{name}.png"
                # A seed of its own for each picture: equal crops in two splits would be a leak.
                seed = 1000 * (sorted(counts).index(split) + 10 * label) + number
                cv2.imwrite(str(folder / path), smooth_picture(seed, side)[..., ::-1])
                rows.append(
                    {
                        "dataset": "D",
                        "video_id": f"D/{'fake' if label else 'real'}/{name}",
                        "method": "someones" if label else "real",
                        "label": label,
                        "split": split,
                        "target_id": name,
                        "frame_index": 0,
                        "time_seconds": 0.0,
                        "track_id": 0,
                        "box_xyxy": list(_BOX),
                        "landmarks_xy": [value for point in _LANDMARKS for value in point],
                        "path": path,
                        "native_size": side,
                    }
                )
    write_manifest(folder / "manifest.parquet", rows_to_table(rows), geometry=GEOMETRY)
    return folder / "manifest.parquet"
