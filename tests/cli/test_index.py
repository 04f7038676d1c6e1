"""The commands that read datasets, from the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.index import read_index
from deepfake_detect.data.layouts import LAYOUTS
from deepfake_detect.data.manifest import read_manifest
from tests.data.layouts.miniatures import make_celebdf_v2, make_folder, make_uadfv
from tests.data.layouts.miniatures_more import make_ffpp, make_wilddeepfake
from tests.data.layouts.test_layouts import MAKERS, kind_of
from tests.data.trees import crop_manifest, textured_crops


@pytest.mark.parametrize("name", MAKERS)
def test_index_lists_every_layout(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = MAKERS[name](tmp_path / "downloaded")
    out = tmp_path / "out" / "videos.parquet"
    assert main(["index", str(root), "--out", str(out)]) == 0
    index = read_index(out)
    printed = capsys.readouterr().out
    assert f"({kind_of(name)}): " in printed
    assert f"wrote {index.num_rows:,} videos" in printed
    assert index.origin.splits_sha256 in printed
    assert index.origin.kinds == (kind_of(name),)
    videos = index.videos()
    assert videos
    assert all(video.path.is_absolute() for video in videos)
    people: dict[str, set[str]] = {}
    for video in videos:
        for person in (video.target_id, video.source_id):
            if person and video.split:
                people.setdefault(person, set()).add(video.split)
    if name != "celebdf-v2":
        assert all(len(splits) == 1 for splits in people.values()), people


def test_partial_copies_are_reported_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_ffpp(tmp_path / "ffpp")
    out = tmp_path / "videos.parquet"
    assert main(["index", str(root), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    missing = tmp_path / "videos.missing.csv"
    assert "found 6 of 1,000 Deepfakes c23 videos, 994 not downloaded\n" in printed
    assert printed.count(f"videos that were not downloaded are listed in {missing}") == 1
    with open(missing, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6000 - 36
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert not any(Path(row["path"]).exists() for row in rows)


def test_a_misspelled_folder_is_one_line_that_names_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_celebdf_v2(tmp_path / "Celeb-DF-v2")
    (root / "YouTube-real").rename(root / "Youtube-real")
    assert main(["index", str(root), "--out", str(tmp_path / "videos.parquet")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Youtube-real: is not a folder of Celeb-DF" in error
    assert "rename it to YouTube-real" in error
    assert not (tmp_path / "videos.parquet").exists()


def test_the_division_is_seeded_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_uadfv(tmp_path / "UADFV")
    hashes = []
    for seed in ("1", "1", "2"):
        out = tmp_path / "videos.parquet"
        assert main(["index", str(root), "--out", str(out), "--split-seed", seed]) == 0
        hashes.append(read_index(out).origin.splits_sha256)
    assert hashes[0] == hashes[1] != hashes[2]
    printed = capsys.readouterr().out
    assert "UADFV: 98 videos divided here, by 49 groups of people" in printed
    shares = read_index(tmp_path / "videos.parquet").query(
        "select split, count(*) as n from rows group by split order by split"
    )
    assert shares.to_pylist() == [
        {"split": "test", "n": 14},
        {"split": "train", "n": 70},
        {"split": "val", "n": 14},
    ]
    assert main(["index", str(root), "--out", str(out), "--split", "official"]) == 0
    assert set(read_index(out).column("split")) == {None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shares", "1", "1", "1"], "--split-fractions: is 1 1 1"),
        (["--val-fraction", "0.9"], "--val-fraction: is 0.9"),
        (["--kind", "ffpp"], "neither original_sequences nor manipulated_sequences"),
        (["--methods", "Deepfakes"], "'Deepfakes' is unknown"),
        (["--methods", ","], "--methods: is empty"),
        (["--fake-label", "0"], "--fake-label: applies only to CSV files"),
    ],
)
def test_bad_options_are_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "mine")
    assert main(["index", str(root), "--out", str(tmp_path / "videos.parquet"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_list_is_not_replaced_by_its_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = MAKERS["csv"](tmp_path / "mine")
    (file,) = root.glob("*.csv") if root.is_dir() else [root]
    text = file.read_text()
    assert main(["index", str(file), "--out", str(file)]) == 2
    assert "is the file to read; choose another file" in capsys.readouterr().err
    assert file.read_text() == text


def test_the_official_test_split_is_not_added_to(tmp_path: Path) -> None:
    root = make_celebdf_v2(tmp_path / "Celeb-DF-v2", is_full=True)
    out = tmp_path / "videos.parquet"
    assert main(["index", str(root), "--out", str(out)]) == 0
    index = read_index(out)
    counts = index.query(
        "select label, count(*) as n from rows where split = 'test' group by label order by label"
    )
    assert counts["n"].to_pylist() == [178, 340]
    assert index.num_rows == 890 + 5639


def test_datasets_lists_them_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["datasets"]) == 0
    printed = capsys.readouterr().out
    assert all(kind in printed for kind in LAYOUTS)
    assert main(["datasets", "--kind", "uadfv"]) == 0
    printed = capsys.readouterr().out
    assert "49" in printed
    assert "celebdf" not in printed


def test_an_index_can_be_extracted(
    tmp_path: Path, portrait_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_ffpp(tmp_path / "ffpp", portrait_clip, pairs=[("000", "003")])
    index, out = tmp_path / "videos.parquet", tmp_path / "out"
    assert main(["index", str(root), "--out", str(index)]) == 0
    condition = "method in ('original', 'FaceSwap') and target_id = '000'"
    arguments = ["extract-faces", str(index), "--out", str(out), "--frames", "2", "--workers", "1"]
    assert main([*arguments, "--where", condition]) == 0
    rows = read_manifest(out).table.to_pylist()
    assert sorted({row["video_id"] for row in rows}) == [
        "FaceForensics++/FaceSwap/c23/000_003",
        "FaceForensics++/original/c23/000",
    ]
    assert len(rows) == 4
    assert main([*arguments, "--where", "color = 1"]) == 2
    assert "where: 'color = 1' cannot be read" in capsys.readouterr().err
    for option in (["--dataset", "ffpp"], ["--split-seed", "3"], ["--methods", "FaceSwap"]):
        assert main([*arguments, *option]) == 2
        assert f"{option[0]}: is for a dataset's folder, not for an index" in capsys.readouterr().err
    assert main(["extract-faces", str(root), "--out", str(out), "--where", "label = 1"]) == 2
    assert "--where: is for an index of videos" in capsys.readouterr().err


@pytest.mark.parametrize("packed", [True, False])
def test_sequences_of_face_crops_are_taken_whole(packed: bool, tmp_path: Path) -> None:
    root = make_wilddeepfake(tmp_path / "wild", packed=packed)
    out = tmp_path / "out"
    arguments = ["extract-faces", str(root), "--out", str(out), "--workers", "1", "--already-cropped"]
    assert main([*arguments, "--margin", "1.5"]) == 0
    manifest = read_manifest(out)
    rows = manifest.table.to_pylist()
    assert len(rows) == 4 * 2 * 2 * 2  # folders, shards, sequences, images
    assert manifest.geometry.margin == 1.5
    for row in rows:
        assert row["label"] == int("/fake" in row["video_id"])
        assert row["box_xyxy"] is None
        assert row["time_seconds"] is None
        assert row["native_size"] == 8
        assert (manifest.root / row["path"]).is_file()
    assert {row["frame_index"] for row in rows} == {0, 1}


def test_merge_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = [
        str(crop_manifest(tmp_path / split, textured_crops(3, split, seed=seed)))
        for seed, split in enumerate(("train", "test"))
    ]
    out = tmp_path / "all.parquet"
    assert (
        main(
            ["merge", *inputs, "--out", str(out), "--where", "label == 1", "--sample", "2", "--per", "split"]
        )
        == 0
    )
    assert "made Made test fake: 2 videos, 2 rows" in capsys.readouterr().out
    assert read_manifest(out).num_rows == 4
    assert main(["merge", *inputs, "--out", str(out), "--where", "labl == 1"]) == 2
    assert main(["merge", inputs[0], inputs[0], "--out", str(out)]) == 2
    assert "is in the inputs 2 times" in capsys.readouterr().err
    assert read_manifest(out).num_rows == 4  # what was there stays
