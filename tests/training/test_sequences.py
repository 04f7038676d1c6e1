from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.data.clips import ClipDataset, collate_clips
from deepfake_detect.data.manifest import read_manifest, rows_to_table, write_manifest
from deepfake_detect.data.transforms import TrainingAugmentation
from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.records import CropGeometry, Preprocessing
from tests.conftest import ROOT
from tests.data.trees import crop_manifest, textured_crops

PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
GEOMETRY = CropGeometry(1.1)


def clip_manifest(folder: Path, num_pairs: int = 8) -> Path:
    """Videos of three to five frames, one of them with a second track, rows in no order."""
    crops = textured_crops(num_pairs, "train", seed=1) + textured_crops(num_pairs, "val", seed=2)
    path = crop_manifest(folder, crops, geometry=GEOMETRY)
    rows = []
    for number, row in enumerate(read_manifest(path).table.to_pylist()):
        rows += [{**row, "frame_index": 10 * frame} for frame in range(3 + number % 3)]
    rows.append({**rows[0], "track_id": 1})
    np.random.default_rng(0).shuffle(rows)  # type: ignore[arg-type]
    write_manifest(path, rows_to_table(rows), geometry=GEOMETRY)
    return path


def dataset(path: Path, num_frames: int, augment: TrainingAugmentation | None = None) -> ClipDataset:
    return ClipDataset(
        read_manifest(path), PREPROCESSING, geometry=GEOMETRY, num_frames=num_frames, augment=augment
    )


def test_a_sequence_is_a_track_in_its_order(tmp_path: Path) -> None:
    path = clip_manifest(tmp_path / "m")
    clips, rows = dataset(path, 4), read_manifest(path).table.to_pylist()
    assert len(clips) == 33
    seen = set()
    for number in range(len(clips)):
        item = clips[number]
        first = rows[item.row]
        own = [r for r in rows if (r["video_id"], r["track_id"]) == (first["video_id"], first["track_id"])]
        assert first["frame_index"] == min(r["frame_index"] for r in own)
        assert item.label == first["label"]
        assert item.images is not None
        assert item.images.shape == (min(4, len(own)), 3, 32, 32)
        seen.add((first["video_id"], first["track_id"]))
    assert len(seen) == 33
    assert clips.labels.sum() == 16


def test_a_sequence_with_a_forged_stretch_is_fake(tmp_path: Path) -> None:
    path = crop_manifest(tmp_path / "m", textured_crops(1, "train"), geometry=GEOMETRY)
    real, fake = sorted(read_manifest(path).table.to_pylist(), key=lambda row: row["label"])
    rows = [real, *({**fake, "frame_index": frame, "label": int(frame == 2)} for frame in range(4))]
    write_manifest(path, rows_to_table(rows), geometry=GEOMETRY)
    assert sorted(dataset(path, 4).labels.tolist()) == [0, 1]


def test_long_tracks_are_taken_evenly_and_changed_alike(tmp_path: Path) -> None:
    path = clip_manifest(tmp_path / "m")
    augment = TrainingAugmentation("strong", 32)
    images = dataset(path, 5, augment)[(0, 7)].images
    assert images is not None
    assert all(torch.equal(images[0], other) for other in images)  # one picture, one fate
    again, otherwise = (dataset(path, 5, augment)[(0, seed)].images for seed in (7, 8))
    assert again is not None
    assert otherwise is not None
    assert torch.equal(images, again)
    assert not torch.equal(images, otherwise)


def test_unreadable_crops_leave_the_others(tmp_path: Path) -> None:
    path = clip_manifest(tmp_path / "m")
    clips = dataset(path, 4)
    (path.parent / "crops" / "train0.png").unlink()
    items = [clips[number] for number in range(len(clips))]
    lost = [item for item in items if item.images is None]
    assert len(lost) == 2  # both tracks of the video
    batch = collate_clips(items)
    assert len(batch.rows) == 31
    assert len(batch.unreadable_rows) == sum(len(item.unreadable_rows) for item in lost)
    assert batch.lengths is not None
    assert batch.images.shape[:2] == (31, int(batch.lengths.max()))
    for image, length in zip(batch.images, batch.lengths, strict=True):
        assert bool((image[int(length) :] == 0).all())
    nothing = collate_clips(lost)
    assert len(nothing.rows) == len(nothing.labels) == 0


@pytest.mark.parametrize("temporal", ["lstm", "transformer"])
def test_trained_measured_and_scored_with_the_same_tools(
    temporal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = clip_manifest(tmp_path / "m"), tmp_path / "run"
    options = ["--backbone", "test_resnet", "--temporal", temporal, "--balance", "sampler", "--epochs", "1"]
    options += ["--batch-size", "8", "--clip-frames", "3", "--num-workers", "0", "--device", "cpu"]
    options += ["--augmentation", "none", "--image-size", "32", "--no-sanity", "--recalibrate-batches", "2"]
    allowed = ["--allow-leak", "identical-crops", "near-duplicate-crops"]
    assert main(["train", "--manifest", str(path), "--out", str(run), *options, *allowed]) == 0
    capsys.readouterr()
    detector = run / "detector.safetensors"
    model, config = read_detector(detector)
    assert config.model.sequence is not None
    assert (config.model.sequence.temporal, config.model.sequence.num_frames) == (temporal, 3)
    score = dfd.load_detector(detector, device="cpu").score_video(
        ROOT / "examples" / "demo.mp4", num_frames=4
    )
    of_tracks: dict[int, set[float]] = {}
    for frame in score.frames:
        for face in frame.faces:
            of_tracks.setdefault(face.track_id, set()).add(face.fake_probability)
    assert of_tracks
    assert all(len(probabilities) == 1 for probabilities in of_tracks.values())
    scorer = TorchDetector(model, config, device=torch.device("cpu"))
    crop = np.zeros((40, 40, 3), np.uint8)
    assert 0 < scorer.score_sequence([crop] * 5) < 1
    with pytest.raises(OptionError, match="scores sequences of crops; call score_sequence"):
        scorer.score_crops([crop])
    with pytest.raises(ImageError, match="crops: is empty"):
        scorer.score_sequence([])


def test_a_detector_of_crops_judges_no_sequences(small_detector: Path) -> None:
    model, config = read_detector(small_detector)
    scorer = TorchDetector(model, config, device=torch.device("cpu"))
    with pytest.raises(OptionError, match="scores single crops; call score_crops"):
        scorer.score_sequence([np.zeros((40, 40, 3), np.uint8)])
