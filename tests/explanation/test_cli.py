from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import rows_to_table, write_manifest
from deepfake_detect.data.sheets import save_image
from deepfake_detect.errors import ManifestError, OptionError, VideoError
from deepfake_detect.explanation.crops import Explanation
from deepfake_detect.explanation.sources import crops_of_clip, crops_of_manifest
from deepfake_detect.models.checkpoint import DetectorConfig, save_detector
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.records import CropGeometry
from deepfake_detect.report.explain import save_grids, save_heat_map_sheet


def size_of(path: Path) -> tuple[int, ...]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture.shape


@pytest.fixture
def manifest(tmp_path: Path, portrait: np.ndarray) -> Path:
    """Two reals and two fakes, three crops each."""
    rows = []
    for video, label in (("a", 0), ("b", 0), ("c", 1), ("d", 1)):
        for frame in (20, 0, 10):
            name = f"{video}{frame}.png"
            save_image(tmp_path / "crops" / name, np.ascontiguousarray(portrait[frame : frame + 200, :200]))
            rows.append(
                {"dataset": "x", "video_id": video, "method": "m", "label": label, "split": "val",
                 "frame_index": frame, "track_id": 0, "path": name}
            )  # fmt: skip
    path = tmp_path / "crops" / "manifest.parquet"
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry(margin=1.6))
    return path


@pytest.fixture(scope="module")
def sequence_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = create_sequence_model("test_resnet", hidden=8, image_size=64, num_frames=2)
    path = tmp_path_factory.mktemp("sequence") / "detector.safetensors"
    save_detector(path, model, DetectorConfig("lstm", "1", model.spec, CropGeometry()))
    return path


def test_a_clip_is_explained(
    portrait_clip: Path, small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explain", str(portrait_clip), "--detector", str(small_detector), "--out", str(tmp_path)]
    assert main([*arguments, "--frames", "2", "--check-randomization", "--method", "gradcam++"]) == 0
    told = capsys.readouterr().out
    assert "(2 crops)" in told
    assert "the maps " in told
    maps = np.load(tmp_path / "heat_maps.npz")
    assert maps["heat_maps"].shape == (2, 64, 64)
    assert maps["heat_maps"].dtype == np.float32
    assert maps["labels"].tolist() == [-1, -1]
    assert maps["names"].tolist() == ["portrait.mp4 frame 0", "portrait.mp4 frame 23"]
    check = json.loads((tmp_path / "randomization.json").read_text())
    assert check["num_images"] == 2
    assert check["layers"][0]["layer"] == "head"
    assert isinstance(check["maps_changed"], bool)
    assert size_of(tmp_path / "heat_maps.png")[1] > 500


def test_crops_of_a_manifest_are_explained(
    manifest: Path, small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explain", "--manifest", str(manifest), "--detector", str(small_detector)]
    assert main([*arguments, "--out", str(tmp_path), "--videos", "3", "--target", "real"]) == 0
    maps = np.load(tmp_path / "heat_maps.npz")
    assert maps["labels"].tolist() == [1, 0, 1]
    assert all(name.endswith("frame 10") for name in maps["names"])
    assert main([*arguments, "--out", str(tmp_path), "--where", "label = 5"]) == 2
    assert "has no matching crops; choose another split or condition" in capsys.readouterr().err


def test_sequences_are_explained_as_wholes(
    manifest: Path, portrait_clip: Path, sequence_detector: Path, tmp_path: Path
) -> None:
    arguments = ["explain", str(portrait_clip), "--manifest", str(manifest), "--frames", "4"]
    arguments += ["--detector", str(sequence_detector), "--out", str(tmp_path), "--videos", "2"]
    assert main([*arguments, "--check-randomization"]) == 0
    maps = np.load(tmp_path / "heat_maps.npz")
    assert maps["names"].tolist()[:2] == ["portrait.mp4 frame 0", "portrait.mp4 frame 23"]
    assert [name[2:] for name in maps["names"].tolist()[2:]] == ["frame 0", "frame 20"] * 2
    probabilities = maps["fake_probability"]
    assert probabilities[0] == probabilities[1] != probabilities[2]


def test_pictures_that_are_crops_are_taken_whole(
    portrait: np.ndarray, small_detector: Path, tmp_path: Path
) -> None:
    save_image(tmp_path / "face.png", portrait[:200, 100:300])
    arguments = ["explain", "--crops", str(tmp_path / "face.png"), "--detector", str(small_detector)]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert np.load(tmp_path / "out" / "heat_maps.npz")["heat_maps"].shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.mp4"], "absent.mp4"),
        ([], "CLIP: are missing; pass CLIP, --crops or --manifest"),
        (["x.mp4", "--frames", "0"], "--frames: is 0; must be 1 or more"),
        (["x.mp4", "--alpha", "2"], "--alpha: is 2.0; must be 0 to 1"),
        (["--crops", "absent.png"], "absent.png"),
        (["--manifest", "absent.parquet"], "does not exist"),
    ],
)
def test_bad_input_is_a_line(
    arguments: list[str],
    message: str,
    small_detector: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", *arguments, "--detector", str(small_detector), "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_clip_without_a_face_is_a_line(
    faceless_clip: Path, small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--detector", str(small_detector), "--out", str(tmp_path), "--frames", "2"]
    assert main(["explain", str(faceless_clip), *arguments]) == 2
    assert (
        "shows no face in 2 frames; pass a clip with faces, or face crops as --crops"
        in capsys.readouterr().err
    )
    with pytest.raises(VideoError, match="shows no face in 1 frame; .* or face crops as `crops`"):
        crops_of_clip(faceless_clip, geometry=CropGeometry(), num_frames=1, device=torch.device("cpu"))


def test_crops_narrower_than_the_detectors_are_refused(manifest: Path) -> None:
    from deepfake_detect.data.manifest import read_manifest

    rows = read_manifest(manifest)
    with pytest.raises(OptionError, match="crop geometry"):
        crops_of_manifest(rows, geometry=CropGeometry(margin=2.0), num_videos=1, per_video=1)
    people = crops_of_manifest(rows, geometry=CropGeometry(margin=0.8), num_videos=4, per_video=5)
    assert [len(person) for person in people] == [3, 3, 3, 3]
    assert people[0][0].image.shape == (100, 100, 3)
    (manifest.parent / "c10.png").unlink()
    with pytest.raises(ManifestError, match="c10.png"):
        crops_of_manifest(rows, geometry=CropGeometry(), num_videos=4, per_video=1)


def test_empty_figures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="grids: is empty; pass one or more"):
        save_grids([], tmp_path / "a.png", title="")
    with pytest.raises(OptionError, match="explanations: is empty"):
        save_heat_map_sheet([], [], [], tmp_path / "a.png", title="")


def test_a_sheet_has_a_pair_for_each_crop(tmp_path: Path, portrait: np.ndarray) -> None:
    one = Explanation(0, portrait[:99, :77], np.zeros((8, 8), np.float32), portrait[:99, :77], 0.5)
    for count in (1, 4):
        labels = [None, 1, 0, 1][:count]
        save_heat_map_sheet([one] * count, ["$x_"] * count, labels, tmp_path / f"{count}.png", title="t")
    assert size_of(tmp_path / "4.png")[0] > 1.5 * size_of(tmp_path / "1.png")[0]
