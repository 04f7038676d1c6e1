"""DeepfakeBench's lists and trees of frames: read, written, and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.datasets import index_dataset
from deepfake_detect.data.exported import export_index
from deepfake_detect.data.index import read_index
from deepfake_detect.data.layouts import read_layout
from deepfake_detect.data.layouts.deepfakebench import WORDS
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.extraction import ExtractionConfig, extract_faces
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from tests.data.layouts import miniatures_forms as forms
from tests.data.layouts.miniatures import assert_sound, tiny_clip, write_json
from tests.data.layouts.miniatures_more import make_ffpp
from tests.data.trees import crop_manifest, textured_crops


def read(root: Path) -> dict[str, DatasetVideo]:
    listing = read_layout(root)[2]
    assert_sound(listing)
    return {video.video_id: video for video in listing.videos}


def test_a_list_is_read_as_the_dataset_it_is_of(tmp_path: Path) -> None:
    videos = read(forms.make_deepfakebench(tmp_path))
    assert {name: (video.label, video.split) for name, video in videos.items()} == {
        "FaceForensics++/original/c23/071": (REAL, "train"),
        "FaceForensics++/original/c23/000": (REAL, "test"),
        "FaceForensics++/Deepfakes/c23/071_054": (FAKE, "train"),
        "FaceForensics++/Deepfakes/c23/000_003": (FAKE, "test"),
    }
    fake = videos["FaceForensics++/Deepfakes/c23/071_054"]
    assert (fake.target_id, fake.source_id) == ("071", "054")
    assert fake.path.is_dir()
    assert fake.mask_path == fake.path.parents[1] / "masks" / "071_054"
    # The folder of the lists, and the frames without a list.
    assert read(tmp_path / "datasets") == videos
    (tmp_path / "datasets" / "FaceForensics++.json").unlink()
    tree = read(tmp_path / "datasets")
    assert {name: tree[name] for name in videos} == {
        name: tree[name] for name in tree if name.startswith("FaceForensics++")
    }
    assert {name: (v.label, v.split, v.path) for name, v in videos.items()} == {
        name: (tree[name].label, tree[name].split, tree[name].path) for name in videos
    }
    assert tree["Celeb-DF-v2/Celeb-synthesis/id0_id1_0000"].split == "test"
    assert tree["Celeb-DF-v2/Celeb-real/id0_0000"].split is None
    assert tree["UADFV/fake/0000_fake"].label == FAKE


def test_a_list_without_compression_and_its_faults(tmp_path: Path) -> None:
    """As rearrange.py writes them: test videos of Celeb-DF in train too, a nameless video of DFDC in val."""
    forms.make_deepfakebench_tree(tmp_path)
    home = tmp_path / "datasets" / "rgb" / "Celeb-DF-v2"

    def entry(word: str, folder: str) -> dict[str, Any]:
        return {"label": word, "frames": [str(home / folder / "000.png")]}

    real = entry("CelebDFv2_real", "Celeb-real/frames/id0_0000")
    fake = entry("CelebDFv2_fake", "Celeb-synthesis/frames/id0_id1_0000")
    content = {
        "CelebDFv2_real": {"train": {"id0_0000": real}, "val": real, "test": {}},
        "CelebDFv2_fake": {
            "train": {"id0_id1_0000": fake},
            "val": {"id0_id1_0000": fake},
            "test": {"id0_id1_0000": fake},
        },
    }
    path = write_json(tmp_path / "Celeb-DF-v2.json", {"Celeb-DF-v2": content})
    listing = read_layout(path)[2]
    assert [(video.method, video.label, video.split) for video in listing.videos] == [
        ("CelebDFv2_real", REAL, "train"),
        ("CelebDFv2_fake", FAKE, "test"),
    ]
    assert listing.notes == ("in several splits, of which the most held out counts: 2",)
    assert (listing.videos[1].target_id, listing.videos[1].source_id) == ("id0", "id1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "FF-real"}, "has the label 'FF-real', but is listed under 'FF-DF'"),
        ({"frames": []}, "FaceForensics../FF-DF/test/c23/000_003 has no frames"),
        ({"frames": ["a/0.png", "b/0.png"]}, "has frames in several folders, a and b"),
        ({"video_id": "../x"}, r"has the video_id '\.\./x'"),
        ({"method": None}, "has the method None"),
        ({"path": 3}, "has the path 3"),
        ({"fake_segments": 3}, "has the fake_segments 3"),
        ({"video_id": "FaceForensics++/Deepfakes/c23/071_054"}, "of other frames or of another label"),
    ],
)
def test_a_damaged_entry_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = forms.make_deepfakebench(tmp_path)
    content = json.loads(path.read_text())
    content["FaceForensics++"]["FF-DF"]["test"]["c23"]["000_003"].update(change)
    write_json(path, content)
    with pytest.raises(DatasetLayoutError, match=message):
        read(path)


def test_lists_of_another_form_are_rejected(tmp_path: Path) -> None:
    frames = {"label": "Swapped", "frames": ["absent_frames/0.png"]}
    path = write_json(tmp_path / "a.json", {"D": {"Swapped": {"train": {"v": frames}}}})
    with pytest.raises(
        DatasetLayoutError, match=f"'Swapped', which is none of {', '.join(WORDS)} and ends in nei"
    ):
        read(path)
    write_json(
        path, {"D": {"D_Real": {"train": {"v": {"label": "D_Real", "frames": ["absent_frames/0.png"]}}}}}
    )
    with pytest.raises(
        DatasetLayoutError, match="none of the frames of its 1 video exists; put the frames next"
    ):
        read(path)
    write_json(path, {"D": {"D_Real": {"train": {}, "dev": {}}}})
    with pytest.raises(DatasetLayoutError, match="has the split 'dev' of D_Real"):
        read(path)
    write_json(path, {"D": {"D_Real": {"train": {"v": 3}}}})
    with pytest.raises(DatasetLayoutError, match="train does not hold objects"):
        read(path)
    path.unlink()
    with pytest.raises(DatasetLayoutError, match="contains neither a list of DeepfakeBench nor frames"):
        read_layout(tmp_path, dataset="deepfakebench")


def test_what_is_written_is_read_back_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forms.make_deepfakebench_tree(tmp_path)
    index = tmp_path / "videos.parquet"
    index_dataset(tmp_path / "datasets", out=index)
    videos = read_index(index).videos()
    assert (
        main(["export-index", str(index), "--format", "deepfakebench", "--out", str(tmp_path / "lists")]) == 0
    )
    assert "wrote 8 videos to " in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "lists").iterdir())
    assert names == ["Celeb-DF-v2.json", "FaceForensics++.json", "UADFV.json"]
    export_index(index, tmp_path / "all.json")
    for root in (tmp_path / "lists", tmp_path / "all.json"):
        index_dataset(root, out=tmp_path / "again.parquet", split="official")
        assert sorted(read_index(tmp_path / "again.parquet").videos(), key=str) == sorted(videos, key=str)
    content = json.loads((tmp_path / "lists" / "FaceForensics++.json").read_text())["FaceForensics++"]
    assert set(content) == {"FF-real", "FF-DF"}
    for splits in content.values():  # the tool asks for each split, and for the level in it
        assert [list(splits[split]) for split in ("train", "val", "test")] == [["c23"]] * 3
    entry = content["FF-DF"]["train"]["c23"]["071_054"]
    assert entry["label"] == "FF-DF"
    assert [Path(name).stem for name in entry["frames"]] == ["000", "010"]
    assert cv2.imread(entry["frames"][0]) is not None
    assert [Path(name).parent.parent.name for name in entry["masks"]] == ["masks", "masks"]


def test_video_files_are_read_back_too_with_a_remark(tmp_path: Path) -> None:
    index = tmp_path / "videos.parquet"
    index_dataset(make_ffpp(tmp_path / "ff", tiny_clip(tmp_path), with_dfd=True), out=index, dataset="ffpp")
    report = export_index(index, tmp_path / "lists")
    assert report.num_video_files == report.num_videos == read_index(index).num_rows
    words = {path.stem: set(json.loads(path.read_text())[path.stem]) for path in report.paths}
    assert words["DeepFakeDetection"] == {"DFD_fake", "DFD_real"}
    assert words["FaceShifter"] == {"FF-FH", "FF-real"}
    assert words["FaceForensics++"] == {"FF-real", "FF-DF", "FF-F2F", "FF-FS", "FF-NT"}
    assert "run extract-faces and export its manifest" in report.lines()[-1]
    index_dataset(tmp_path / "lists", out=tmp_path / "again.parquet", split="official")
    again = {video.video_id: video for video in read_index(tmp_path / "again.parquet").videos()}
    assert again == {video.video_id: video for video in read_index(index).videos()}


def test_a_manifest_lists_its_crops(tmp_path: Path) -> None:
    forms.make_deepfakebench_tree(tmp_path)
    config = ExtractionConfig(num_frames=2, already_cropped=True)
    extract_faces(tmp_path / "datasets", tmp_path / "crops", config, num_workers=1, show_progress=False)
    manifest = read_manifest(tmp_path / "crops")
    export_index(manifest.where("dataset = 'FaceForensics++'"), tmp_path / "x.json")
    videos = read(tmp_path / "x.json")
    rows = manifest.where("dataset = 'FaceForensics++'").columns(["video_id", "label"]).to_pylist()
    assert {name: video.label for name, video in videos.items()} == {
        row["video_id"]: row["label"] for row in rows
    }
    assert all(list(video.path.glob("*.png")) for video in videos.values())
    shards = ExtractionConfig(num_frames=2, already_cropped=True, store="shards")
    extract_faces(tmp_path / "datasets", tmp_path / "tars", shards, num_workers=1, show_progress=False)
    with pytest.raises(OptionError, match="index: .* is not a file, and DeepfakeBench reads no tars"):
        export_index(tmp_path / "tars" / "manifest.parquet", tmp_path / "y.json")
    with pytest.raises(OptionError, match="format: .*must be deepfakebench|format: .*one of deepfakebench"):
        export_index(crop_manifest(tmp_path / "m", textured_crops(1, "train")), tmp_path / "z", format="x")  # type: ignore[arg-type]
