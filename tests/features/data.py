"""Small manifests and feature files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from deepfake_detect.data.manifest import rows_to_table, write_manifest
from deepfake_detect.data.sheets import save_image
from deepfake_detect.features.extractor import FeatureSource, build_extractor
from deepfake_detect.features.feature_file import FeatureInfo, FeatureTable, FeatureWriter
from deepfake_detect.records import CropGeometry, Preprocessing

Row = tuple[str, str | None, int, int]  # video, split, label, frame
VIDEOS: list[Row] = [
    (f"{split}{number}", split, number % 2, frame)
    for split in ("train", "val")
    for number in range(6)
    for frame in (0, 9)
]


def write_crops(folder: Path, rows: Iterable[Row] = VIDEOS, *, name: str = "manifest.parquet") -> Path:
    """Write a crop and a manifest row for each; fakes are brighter. Crops that are there stay."""
    listed = []
    for video, split, label, frame in rows:
        file = folder / f"{video}-{frame}.png"
        if not file.exists():
            noise = np.random.default_rng([*video.encode(), frame]).integers(0, 60, (48, 48, 3))
            save_image(file, (noise + 120 * label).astype(np.uint8))
        listed.append(
            {"dataset": "x", "video_id": video, "method": "Deepfakes" if label else "original",
             "label": label, "split": split, "frame_index": frame, "track_id": 0,
             "target_id": f"p{video}", "path": file.name}
        )  # fmt: skip
    path = folder / name
    write_manifest(path, rows_to_table(listed), geometry=CropGeometry())
    return path


def extractor_of(detector: Path, **options: object):  # type: ignore[no-untyped-def]
    return build_extractor(FeatureSource(detector=str(detector), **options))  # type: ignore[arg-type]


def write_features(
    path: Path, tables: Sequence[FeatureTable], *, source: dict[str, object] | None = None
) -> Path:
    """Write tables of vectors as a feature file."""
    shape = tables[0].features.shape[1:]
    prep = Preprocessing(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    info = FeatureInfo(source or {}, {}, prep, CropGeometry(), shape)
    with FeatureWriter.create(path, info) as writer:
        for table in tables:
            writer.append(table)
    return path
