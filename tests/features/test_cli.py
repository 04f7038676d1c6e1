from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.cli import main as any_main
from deepfake_detect.cli.main import LAB_COMMANDS
from deepfake_detect.features.feature_file import FeatureFile, feature_table
from tests.features.data import VIDEOS, write_crops, write_features


def main(arguments: list[str]) -> int:
    return any_main(["lab", *arguments] if arguments[0] in LAB_COMMANDS else arguments)


@pytest.fixture
def features(small_detector: Path, tmp_path: Path) -> Path:
    manifest, out = write_crops(tmp_path / "crops"), tmp_path / "features.h5"
    command = ["extract-features", "--manifest", str(manifest), "--detector", str(small_detector)]
    assert main([*command, "--out", str(out), "--num-workers", "0", "--device", "cpu"]) == 0
    return out


def test_extraction_tells_what_is_there(
    capsys: pytest.CaptureFixture[str], features: Path, small_detector: Path, tmp_path: Path
) -> None:
    printed = capsys.readouterr().out
    assert "train Deepfakes: 6 rows" in printed
    assert "added 24 rows" in printed
    more = write_crops(tmp_path / "crops", [*VIDEOS, ("more", "val", 0, 0)])
    command = ["extract-features", "--detector", str(small_detector), "--out", str(features)]
    assert main([*command, "--manifest", str(more), "--where", "split = 'val'", "--num-workers", "0"]) == 0
    assert "added 1 row " in capsys.readouterr().out
    assert FeatureFile(features).manifests[1]["where"] == ["split = 'val'"]


def test_classifiers_become_a_detector(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    command = ["train-features", "--features", str(features), "--out", str(tmp_path / "run")]
    assert main([*command, "--classifier", "logistic", "linear-svm", "--name", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("logistic: video AUC 1.000 [")
    assert lines[2].startswith(f"wrote {tmp_path / 'run' / 'detector.safetensors'} (logistic;")
    grid = json.loads((tmp_path / "run" / "grid.json").read_text())
    assert {one["classifier"] for one in grid} == {"logistic", "linear-svm"}
    assert all(0 <= one["auc"] <= 1 and one["settings"] for one in grid)


def test_the_network_may_lie_elsewhere_by_now(
    small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "features.h5"
    first.write_bytes(small_detector.read_bytes())
    extract = ["extract-features", "--manifest", str(write_crops(tmp_path / "crops"))]
    assert main([*extract, "--detector", str(first), "--out", str(out), "--num-workers", "0"]) == 0
    first.rename(other)
    for command in (
        ["train-features", "--out", str(tmp_path / "run"), "--classifier", "logistic"],
        ["neighbors", "--crops", str(tmp_path / "crops" / "val1-0.png")],
    ):
        capsys.readouterr()
        assert main([*command, "--features", str(out)]) == 2
        assert "a.safetensors: there is no such detector file" in capsys.readouterr().err
        assert main([*command, "--features", str(out), "--weights", str(other)]) == 0


def test_nearest_faces_of_pictures_and_of_a_video(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["neighbors", "--features", str(features), "--count", "3"]
    crop, found = tmp_path / "crops" / "val1-0.png", tmp_path / "found.json"
    sheet = tmp_path / "sheet.png"
    assert main([*command, "--crops", str(crop), "--json", str(found), "--sheet", str(sheet)]) == 0
    nearest = json.loads(found.read_text())
    assert [one["video_id"] for one in nearest][0] == "val1"
    assert nearest[0]["cosine"] == pytest.approx(1, abs=1e-5)
    assert cv2.imread(str(sheet)) is not None
    capsys.readouterr()
    assert main([*command, "--video", "val1", "--split", "val", "--json", str(found)]) == 0
    assert capsys.readouterr().out.startswith("val1 frame 0\n")
    asked = {(one["query"][-1], one["frame_index"]) for one in json.loads(found.read_text())
             if one["video_id"] == "val1"}  # fmt: skip
    assert asked <= {("0", 9), ("9", 0)}  # never itself


def test_precision_and_what_splits_share(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    command = ["neighbors", "--features", str(features)]
    found = tmp_path / "found.json"
    assert main([*command, "--precision", "--json", str(found)]) == 0
    assert "of 24 faces whose person has another" in capsys.readouterr().out
    assert json.loads(found.read_text())["count"] == 5
    assert (
        main([*command, "--across-splits", "0.5", "--json", str(found), "--sheet", str(tmp_path / "s.png")])
        == 1
    )
    assert json.loads(found.read_text())["overlaps"][0]["count"] == 12
    assert (tmp_path / "s.png").is_file()
    assert main([*command, "--across-splits", "1"]) == 0
    assert "train and val: no similar faces" in capsys.readouterr().out


def test_the_map_of_several_files(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()
    out = tmp_path / "out" / "map.html"
    command = [
        "clusters",
        "--features",
        str(features),
        str(features),
        "--out",
        str(out),
        "--num-clusters",
        "2",
    ]
    read = FeatureFile.batches
    monkeypatch.setattr(  # a file larger than memory is read in parts
        FeatureFile, "batches", lambda self, *chosen: read(self, *chosen, batch_size=5)
    )
    monkeypatch.delattr(FeatureFile, "read")
    assert main([*command, "--projection", "pca", "--max-faces", "30"]) == 0
    text = out.read_text()
    assert "30 faces" in text
    assert "cluster 0: " in capsys.readouterr().out
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    videos = json.loads(found[1])["columns"]["video"]
    assert len(videos) == 30
    assert len(set(videos)) > 9  # of 12: sampled at random, not the first


def test_groups_say_how_many_people_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = [
        feature_table(np.eye(2)[[side] * 4] + 0.01 * np.arange(8).reshape(4, 2), split="val", method="m")
        for side in (0, 1)
    ]
    people = [["", "", "", ""], ["ann", "ann", "bob", ""]]
    named = [replace(t, identities=np.array(p, object)) for t, p in zip(tables, people, strict=True)]
    source = {"weights_sha256": "0", "layer": None}
    path = write_features(tmp_path / "f.h5", named, source=source)
    command = ["clusters", "--features", str(path), "--out", str(tmp_path / "m.html"), "--projection", "pca"]
    assert main([*command, "--num-clusters", "2"]) == 0
    told = capsys.readouterr().out
    assert "4 faces of unknown people, 0% fake" in told
    assert "4 faces of 2 known people, 0% fake" in told
    # Alike in network and layer, and yet of another shape.
    wide = write_features(tmp_path / "w.h5", [feature_table(np.ones((4, 3)), split="val", method="m")],
                          source=source)  # fmt: skip
    assert main([*command[:2], str(path), str(wide), *command[3:]]) == 2
    assert "are from several networks or layers, or maps" in capsys.readouterr().err
    assert main(["neighbors", "--features", str(path), "--across-splits", "0.9"]) == 0
    assert "there are fewer than two splits to compare" in capsys.readouterr().out


def test_weights_are_written_as_hdf5(
    small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-weights", str(small_detector), "--out", str(tmp_path / "w.h5")]) == 0
    assert "tensors to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("neighbors --features F --video nobody", "has no row of 'nobody'"),
        ("neighbors --features F --crops absent.png", "absent.png: "),
        ("neighbors --features absent.h5 --precision", "there is no such feature file"),
        ("clusters --features F --out O/m.html --max-faces 2", "--max-faces: is 2; must be 3 to 20000"),
        ("clusters --features F --out O/m.html --cluster x", "--cluster: is 'x'; must be one of kmeans"),
        ("clusters --features F M --out O/m.html", "are from several networks or layers, or maps"),
        ("neighbors --features M --precision", "contains maps, not vectors; extract them with"),
        (
            "clusters --features F --out O/m.html --max-faces 20001",
            "--max-faces: is 20001; must be 3 to 20000",
        ),
        ("clusters --features F --out O/m.html --split x", "has no rows of x/*; there are train/Deepfakes"),
        (
            "neighbors --features F --across-splits 0.9 --split val",
            "--split: has no effect with --across-s",
        ),
        ("neighbors --features F --across-splits 0.9 --count 3", "--count: has no effect with --across-sp"),
        ("neighbors --features F --count 0 --precision", "--count: is 0; must be 1 or more"),
        ("neighbors --features F --precision --sheet s.png", "--sheet: has no effect with --precision"),
        ("train-features --features absent.h5 --out O", "there is no such feature file"),
        ("extract-features --manifest absent --backbone x --out O/f.h5", "does not exist"),
        ("export-weights absent --out O/w.h5", "there is no such file"),
    ],
)
def test_bad_input_is_one_line(
    command: str, message: str, features: Path, small_detector: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    maps = tmp_path / "maps.h5"
    if " M " in command:
        extract = [
            "extract-features",
            "--manifest",
            str(tmp_path / "crops"),
            "--detector",
            str(small_detector),
        ]
        assert main([*extract, "--spatial", "--out", str(maps), "--num-workers", "0"]) == 0
    capsys.readouterr()
    places = {"F": features, "M": maps, "O": tmp_path / "o", "O/m.html": tmp_path / "o" / "m.html",
              "O/f.h5": tmp_path / "o" / "f.h5", "O/w.h5": tmp_path / "o" / "w.h5"}  # fmt: skip
    assert main([str(places.get(word, word)) for word in command.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
