"""Whole clips, damaged before faces are sought in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.index import IndexOrigin, write_index
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.clip_damage import CLIP_DAMAGES, damage_clip, encodings_of
from deepfake_detect.evaluation.options import StressOptions
from deepfake_detect.evaluation.stress import CLEAN, ClipScore, measure_damage
from deepfake_detect.records import DatasetVideo
from deepfake_detect.scoring import stress as stress_module
from deepfake_detect.scoring.stress import stress
from deepfake_detect.video import AllFrames, VideoReader, VideoWriter, read_metadata

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(scope="module")
def moving_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moving") / "clip.mp4"
    pixels = np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    with VideoWriter(path, width=128, height=96, frames_per_second=30) as writer:
        for number in range(30):
            writer.write(np.ascontiguousarray(pixels[:, number : number + 128]))
    return path


def clip_index(folder: Path, clip: Path, *, split: str = "test") -> Path:
    videos = [
        DatasetVideo("made", f"made/{method}/{n}", method, label, split, None, f"p{n}", None, clip)
        for label, method in enumerate(("original", "swap"))
        for n in range(2)
    ]
    path = folder / "index.parquet"
    write_index(path, videos, origin=IndexOrigin(("made",), ("made",), "official", 0, "0" * 64))
    return path


@pytest.mark.parametrize(
    ("damage", "codec", "size", "num_frames"),
    [
        ("h264-40", "h264", (128, 96), 30),
        ("h265-32", "hevc", (128, 96), 30),
        ("half", "h264", (64, 48), 30),
        ("15fps", "h264", (128, 96), 15),
        ("quarter+h265-40", "hevc", (32, 24), 30),
        ("reupload", "h264", (128, 96), 30),
    ],
)
def test_damage_changes_what_it_names(
    moving_clip: Path, tmp_path: Path, damage: str, codec: str, size: tuple[int, int], num_frames: int
) -> None:
    target = tmp_path / "damaged.mp4"
    damage_clip(moving_clip, target, damage)
    found = read_metadata(target)
    assert (found.codec, found.width, found.height, found.num_frames) == (codec, *size, num_frames)
    assert found.duration_seconds == pytest.approx(1.0, abs=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.mp4"]


@pytest.mark.parametrize(
    ("damage", "low", "high"), [("noise", 6, 14), ("h264-40", 6, 200), ("h264-23", 0, 6)]
)
def test_damage_is_as_strong_as_it_says(
    moving_clip: Path, tmp_path: Path, damage: str, low: float, high: float
) -> None:
    smooth = tmp_path / "smooth.mp4"
    slope = np.add.outer(np.arange(96), np.arange(128))[..., None]
    texture = np.random.default_rng(0).normal(0, 8, (96, 128, 1)) * (damage == "h264-40")
    image = np.clip(40 + slope / 2 + texture, 0, 255).astype(np.uint8).repeat(3, axis=2)
    with VideoWriter(smooth, width=128, height=96, frames_per_second=10) as writer:
        for _ in range(5):
            writer.write(image)
    damage_clip(smooth, tmp_path / "damaged.mp4", damage)
    before, after = (
        np.stack([frame.image for frame in VideoReader(path).frames(AllFrames())]).astype(float)
        for path in (smooth, tmp_path / "damaged.mp4")
    )
    assert low <= np.sqrt(np.mean((after - before) ** 2)) <= high


def test_every_damage_has_a_chain_and_unknown_ones_are_named() -> None:
    assert all(encodings_of(name) == chain for name, chain in CLIP_DAMAGES.items())
    assert len(encodings_of("reupload+noise")) == 3
    with pytest.raises(OptionError, match=r"damages: has 'h266'; must be of h264-23"):
        encodings_of("half+h266")
    with pytest.raises(OptionError, match="num_videos: is 3; must be an even number"):
        StressOptions(num_videos=3)


@pytest.mark.parametrize(("option", "value"), [("codec", "av1"), ("crf", 52)])
def test_unknown_encoders_are_rejected(tmp_path: Path, option: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"{option}: is {value!r}"):
        VideoWriter(tmp_path / "a.mp4", width=16, height=16, frames_per_second=5, **{option: value})


def clip_scores(num_videos: int = 30) -> list[ClipScore]:
    generator = np.random.default_rng(0)
    names = [(f"{label}/{n}", label) for label in (0, 1) for n in range(num_videos)]
    return [
        ClipScore(name, name, label, float(generator.uniform(0.4 * label, 0.6 + 0.4 * label)), 8, 8)
        for name, label in names
    ]


def test_a_change_is_that_of_the_same_clips_and_lost_faces_are_counted() -> None:
    clean = clip_scores()
    clean[3] = replace(clean[3], fake_probability=None, num_frames_with_face=0)
    damaged = [replace(one, num_frames_with_face=4 * (one.fake_probability is not None)) for one in clean]
    damaged[0] = replace(damaged[0], fake_probability=None, num_frames_with_face=0)
    damaged[1] = replace(damaged[1], fake_probability=None, num_frames=0, error="cannot be read")
    settings = {"threshold": 0.5, "num_resamples": 200, "seed": 0}
    found = measure_damage("half", clean, damaged, **settings)
    assert (found.num_videos_real, found.num_videos_fake) == (27, 30)
    assert (found.num_without_face, found.num_failed) == (1, 1)
    assert found.frames_with_face == pytest.approx(0.5 * 57 / 58)
    # Scores that did not change: the AUC of the clips that are left is the same before and after.
    assert (found.change.value, found.change.low, found.change.high) == (0.0, 0.0, 0.0)
    before = measure_damage(CLEAN, clean, clean, **settings)
    assert before.num_without_face == 1
    worse = [replace(one, fake_probability=0.5) for one in clean]
    flat = measure_damage("blur", clean, worse, **settings)
    assert flat.auc.value == 0.5
    assert flat.change.value == 0.5 - before.auc.value
    assert flat.change.low < flat.change.value < flat.change.high < 0
    json.dumps(flat.to_json(), allow_nan=False)


def test_no_common_clip_has_no_rates() -> None:
    clean = clip_scores(2)
    lost = [replace(one, fake_probability=None, num_frames_with_face=0) for one in clean]
    found = measure_damage("blur", clean, lost, threshold=0.5, num_resamples=10, seed=0)
    assert found.num_without_face == 4
    assert found.to_json()["auc"] == {"value": None, "low": None, "high": None}
    few = measure_damage("blur", clean, clean, threshold=0.5, num_resamples=10, seed=0)
    assert few.change.text() == "0.000 [too few]"


def test_clips_are_damaged_scored_and_not_scored_again(
    small_detector: Path,
    portrait_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    index, out = clip_index(tmp_path, portrait_clip), tmp_path / "out"
    command = ["stress", str(index), "--detector", str(small_detector), "--out", str(out), "--frames", "2"]
    options = ["--damages", "half+h264-32", "--workers", "1", "--bootstrap-draws", "20"]
    assert main([*command, *options]) == 0
    assert "half+h264-32" in capsys.readouterr().out
    stored = json.loads((out / "stress.json").read_text())
    assert stored["clean"]["num_videos_real"] == stored["clean"]["num_videos_fake"] == 2
    assert stored["damages"][0]["damage"] == "half+h264-32"
    assert "few: differences" in stored["notes"][0]
    assert "half+h264-32" in (out / "stress.csv").read_text()
    assert "Clips are damaged before face detection" in (out / "stress.html").read_text()

    def fails(*args: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(stress_module, "damage_clip", fails)
    again = stress(
        index,
        small_detector,
        out=out,
        damages=["half+h264-32"],
        num_frames=2,
        num_resamples=20,
        workers=1,
        show_progress=False,
    )
    assert again.to_json() == stored


def test_a_clip_that_cannot_be_read_is_counted(small_detector: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    found = stress(
        clip_index(tmp_path, broken),
        small_detector,
        damages=["blur"],
        num_frames=2,
        num_resamples=5,
        workers=1,
        show_progress=False,
    )
    assert (found.clean.num_failed, found.damages[0].num_failed) == (4, 4)


def test_both_classes_are_needed(small_detector: Path, portrait_clip: Path, tmp_path: Path) -> None:
    index = clip_index(tmp_path, portrait_clip, split="train")
    with pytest.raises(ManifestError, match="does not have both classes in split test"):
        stress(index, small_detector, show_progress=False)
