"""Hundreds of damaged files of every kind: each is read, or ends in one of the library's errors.

The damage is the same at every run, see ``mutations.py``; `make fuzz` tries ever new one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.errors import DeepfakeDetectError, VideoError
from deepfake_detect.video import EvenlySpaced, read_frames
from tests.mutations import CLIPS, mutants, write_other_seeds, write_seeds

_CHANGED = 3.0  # mean difference of pixels, in levels, that anybody sees


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


@pytest.mark.parametrize(
    ("name", "per_kind", "least"), [("manifest", 6, 20), ("detector", 4, 8), ("list", 6, 20)]
)
def test_other_files(tmp_path: Path, name: str, per_kind: int, least: int) -> None:
    other = write_other_seeds(tmp_path)[name]
    counts: Counter[str] = Counter()
    for mutant, data in mutants(other.seed, per_kind=per_kind):
        other.place.write_bytes(data)
        try:
            other.read(other.place)
        except DeepfakeDetectError as error:
            counts["error" if "\n" not in str(error) else "several lines"] += 1
        except Exception as error:
            raise AssertionError(f"{mutant} ended in {error!r}") from error
    assert counts["error"] > least
    assert counts["several lines"] == 0
