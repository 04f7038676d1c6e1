"""Several manifests into one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_detect.data.crops import CropDataset
from deepfake_detect.data.failures import (
    failures_path,
    missing_path,
    read_failures,
    write_failures,
    write_missing,
)
from deepfake_detect.data.index import IndexOrigin, VideoIndex, write_index
from deepfake_detect.data.manifest import Manifest, read_manifest, write_manifest
from deepfake_detect.data.merge import merge_manifests
from deepfake_detect.data.pack import pack_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import CropGeometry, DatasetVideo, Preprocessing
from tests.data.trees import crop_manifest, textured_crops

PREP = Preprocessing(image_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture
def two(tmp_path: Path) -> list[Manifest]:
    return [
        read_manifest(crop_manifest(tmp_path / split, textured_crops(3, split, seed=seed)))
        for seed, split in enumerate(("train", "val"))
    ]


def test_merged_rows_still_find_their_crops(two: list[Manifest], tmp_path: Path) -> None:
    merged = merge_manifests(two, tmp_path / "deep" / "er" / "all.parquet")
    assert isinstance(merged, Manifest)
    assert merged.num_rows == 12
    assert merged.column("video_id").tolist() == [v for one in two for v in one.column("video_id")]
    dataset = CropDataset(merged, PREP, geometry=CropGeometry())
    assert all(dataset[row].image is not None for row in range(12))
    assert all((merged.root / path).is_file() for path in merged.column("path"))


def test_rows_are_filtered_and_sampled(two: list[Manifest], tmp_path: Path) -> None:
    fakes = merge_manifests([one.where("label = 1") for one in two], tmp_path / "fakes.parquet")
    assert set(fakes.column("label")) == {1}
    drawn = merge_manifests(two, tmp_path / "drawn.parquet", sample=1, per=["split", "label"], seed=2)
    assert drawn.num_rows == 4
    assert all((drawn.root / path).is_file() for path in drawn.column("path"))
    assert not list(tmp_path.glob(".*"))


def test_a_selection_in_the_same_folder(two: list[Manifest]) -> None:
    chosen = merge_manifests([two[0].where("label = 0")], two[0].root / "reals.parquet")
    assert chosen.column("path").tolist() == two[0].where("label = 0").column("path").tolist()


def test_failures_come_along(two: list[Manifest], tmp_path: Path) -> None:
    for one, split in zip(two, ("train", "val"), strict=True):
        failure = {"dataset": "made", "video_id": f"made/x/{split}", "method": "x", "label": 1}
        write_failures(
            failures_path(one.path), [{**failure, "split": split, "path": "p", "reason": "no_face"}]
        )
    merged = merge_manifests(two, tmp_path / "all.parquet")
    assert [row["video_id"] for row in read_failures(merged)] == ["made/x/train", "made/x/val"]
    assert [row["video_id"] for row in read_failures(merged.where("split = 'val'"))] == ["made/x/val"]
    assert read_failures(merged.where("native_size > 1")) == []
    assert read_failures(merged)[0]["label"] == 1
    assert two[0].root / "failures.csv" == failures_path(two[0].path)
    (tmp_path / "all.failures.csv").write_text("video_id\nx\n")
    with pytest.raises(ManifestError, match="lacks the columns dataset"):
        read_failures(merged)


def test_missing_videos_come_along(two: list[Manifest], tmp_path: Path) -> None:
    video = DatasetVideo("made", "made/x/0", "x", 1, "val", None, "t", None, Path("p"))
    write_missing(missing_path(two[0].path), [video])
    merged = merge_manifests(two, tmp_path / "all.parquet")
    (found,) = read_failures(merged)
    assert (found["video_id"], found["reason"], found["label"]) == ("made/x/0", "missing", 1)
    assert (found["target_id"], found["message"]) == ("t", None)
    assert read_failures(merged.where("split = 'test'")) == []
    # Of what was merged nothing is read twice.
    write_missing(missing_path(merged.path), [video])
    assert len(read_failures(merged)) == 1
    assert missing_path(merged.path).name == "all.missing.csv"
    packed = pack_manifest(two[0], tmp_path / "packed", show_progress=False).manifest
    assert [row["reason"] for row in read_failures(packed)] == ["missing"]


def test_an_index_has_missing_videos_too(tmp_path: Path) -> None:
    video = DatasetVideo("made", "made/x/0", "x", 1, "val", None, "t", None, Path("p"), Path("m"))
    origin = IndexOrigin(("uadfv",), ("/r",), "auto", 0, "0")
    index = write_index(tmp_path / "videos.parquet", [video], origin=origin)
    absent = [replace(video, video_id=f"made/x/{split}", split=split) for split in ("val", "test")]
    write_missing(missing_path(index.path), absent)
    assert [row["split"] for row in read_failures(index)] == ["val", "test"]
    assert [row["split"] for row in read_failures(index.where("split = 'val'"))] == ["val"]
    assert read_failures(index.where("mask_path is not null")) == []  # of which nothing is known


def test_failures_know_what_videos_know(two: list[Manifest]) -> None:
    failure = {
        "dataset": "made",
        "video_id": "made/x/1",
        "method": "x",
        "label": 1,
        "path": "p",
        "reason": "r",
    }
    write_failures(failures_path(two[0].path), [{**failure, "compression": "c23", "target_id": "t"}])
    assert len(read_failures(two[0].where("compression == 'c23' and target_id <> 'u'"))) == 1
    old = failures_path(two[1].path)
    old.write_text("dataset,video_id,method,label,split,path,reason,message\nmade,made/x/2,x,1,test,p,r,m\n")
    assert [row["video_id"] for row in read_failures(two[1])] == ["made/x/2"]


def test_a_sample_leaves_no_failures_of_an_earlier_file(two: list[Manifest], tmp_path: Path) -> None:
    failure = {
        "dataset": "made",
        "video_id": "made/x/1",
        "method": "x",
        "label": 1,
        "path": "p",
        "reason": "r",
    }
    write_failures(failures_path(two[0].path), [failure])
    out = tmp_path / "out.parquet"
    assert len(read_failures(merge_manifests(two, out))) == 1
    assert read_failures(merge_manifests(two, out, sample=2)) == []


def test_crops_are_found_through_links_and_by_absolute_paths(two: list[Manifest], tmp_path: Path) -> None:
    far = tmp_path / "far" / "away"
    far.mkdir(parents=True)
    (tmp_path / "link").symlink_to(far)
    merged = merge_manifests(two, tmp_path / "link" / "all.parquet")
    assert all((merged.root / path).is_file() for path in merged.column("path"))
    table = two[0].table
    absolute = [str(two[0].root / path) for path in two[0].column("path")]
    table = table.set_column(table.column_names.index("path"), "path", [absolute])
    write_manifest(two[0].root / "absolute.parquet", table, geometry=two[0].geometry)
    merged = merge_manifests([read_manifest(two[0].root / "absolute.parquet")], tmp_path / "b" / "c.parquet")
    assert merged.column("path").tolist() == absolute


def test_what_does_not_go_together_is_rejected(two: list[Manifest], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is in the inputs 2 times; omit one of the inputs"):
        merge_manifests([two[0], two[0]], tmp_path / "out.parquet")
    with pytest.raises(OptionError, match="is one of the inputs"):
        merge_manifests(two, two[0].path)
    wider = crop_manifest(tmp_path / "wide", textured_crops(1, "test"), geometry=CropGeometry(2.0))
    with pytest.raises(ManifestError, match=r"cut with CropGeometry\(margin=2.0.*margin=1.3"):
        merge_manifests([*two, read_manifest(wider)], tmp_path / "out.parquet")
    video = DatasetVideo("D", "D/m/0", "m", 1, "test", None, None, None, tmp_path / "a.mp4")
    index = write_index(tmp_path / "v.parquet", [video], origin=IndexOrigin(("x",), ("y",), "auto", 0, "z"))
    with pytest.raises(ManifestError, match="is an index of videos, other inputs are manifests of crops"):
        merge_manifests([*two, index], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_indexes_merge_too(tmp_path: Path) -> None:
    indexes = [
        write_index(
            tmp_path / f"{name}.parquet",
            [
                DatasetVideo(name, f"{name}/m/{n}", "m", n % 2, "test", None, None, None, tmp_path / f"{n}")
                for n in range(4)
            ],
            origin=IndexOrigin((name,), (f"/{name}",), "auto", 0, name),
        )
        for name in ("A", "B")
    ]
    merged = merge_manifests(indexes, tmp_path / "all.parquet")
    assert isinstance(merged, VideoIndex)
    assert merged.origin.kinds == ("A", "B")
    assert [v.video_id for v in merged.videos()] == [v.video_id for one in indexes for v in one.videos()]
