"""Hundreds of damaged files of every kind: each is read, or ends in one of the library's errors.

The damage is the same at every run, see ``mutations.py``; `make fuzz` tries ever new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from deepfake_detect.data.layouts.base import Selection
from deepfake_detect.data.layouts.csv_list import LAYOUT
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import DeepfakeDetectError, VideoError
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.video import EvenlySpaced, read_frames
from tests.data.layouts.miniatures import place_videos
from tests.mutations import CLIPS, mutants, write_seeds

_CHANGED = 3.0  # mean difference of pixels, in levels, that anybody sees


def outcomes(seed: Path, place: Path, read: Callable[[Path], object], *, per_kind: int) -> Counter[str]:
    """Read each mutant of a file, in its place; anything but the library's errors is raised."""
    counts: Counter[str] = Counter()
    for name, data in mutants(seed, per_kind=per_kind):
        place.write_bytes(data)
        try:
            read(place)
        except DeepfakeDetectError as error:
            counts["error" if "\n" not in str(error) else "long error"] += 1
        except Exception as error:
            raise AssertionError(f"{name} ended in {error!r}") from error
        else:
            counts["read"] += 1
    assert counts["long error"] == 0
    return counts


def test_clips_and_images(tmp_path: Path, demo_clip: Path) -> None:
    images = [
        cv2.resize(frame.image, (160, 90), interpolation=cv2.INTER_AREA)
        for frame in read_frames(demo_clip, sampling=EvenlySpaced(12))
    ]
    (tmp_path / "seeds").mkdir()
    seeds = write_seeds(tmp_path / "seeds", images)
    counts: Counter[str] = Counter()
    for name, seed in seeds.items():
        whole = [frame.image for frame in read_frames(seed)]
        for mutant, data in mutants(seed, per_kind=2 if name in CLIPS else 1):
            (tmp_path / name).write_bytes(data)
            try:
                found = [frame.image for frame in read_frames(tmp_path / name)]
            except VideoError:
                counts["error"] += 1
                continue
            except Exception as error:
                raise AssertionError(f"{mutant} ended in {error!r}") from error
            counts["silent" if _differ(found, whole) else "same"] += 1
    assert sum(counts.values()) >= 250
    assert counts["error"] > 150
    print(counts)


def _differ(found: list[np.ndarray], whole: list[np.ndarray]) -> bool:
    if len(found) != len(whole) or found[0].shape != whole[0].shape:
        return True
    return any(float(np.abs(a.astype(int) - b).mean()) > _CHANGED for a, b in zip(found, whole, strict=True))


def test_manifests(tmp_path: Path, labeled_crops: Path) -> None:
    counts = outcomes(
        labeled_crops, tmp_path / "m.parquet", lambda path: read_manifest(path).table.to_pylist(), per_kind=6
    )
    assert counts["error"] > 20


def test_detector_files(tmp_path: Path, small_detector: Path) -> None:
    counts = outcomes(small_detector, tmp_path / "small.safetensors", read_detector, per_kind=3)
    assert counts["error"] > 8


def test_lists(tmp_path: Path) -> None:
    place_videos(tmp_path / "mine", "abc")
    path = tmp_path / "mine" / "list.csv"
    path.write_text("path,label,split,method\na.mp4,1,train,Swap\nb.mp4,0,val,\nc.mp4,1,test,Swap\n")
    seed = tmp_path / "list.csv"
    seed.write_bytes(path.read_bytes())
    counts = outcomes(seed, path, lambda path: LAYOUT.read(path, Selection()), per_kind=8)
    assert counts["error"] > 20
