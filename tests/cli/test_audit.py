"""`deepfake-detect audit`: its words, its files, and the exit code that stops a pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.audit_report import DuplicatePair
from deepfake_detect.data.index import IndexOrigin, write_index
from deepfake_detect.data.manifest import read_manifest, rows_to_table, write_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.features.feature_file import feature_table
from deepfake_detect.records import CropGeometry, DatasetVideo
from deepfake_detect.report.duplicates import save_duplicate_sheet
from tests.data.trees import crop_manifest, textured_crops
from tests.features.data import write_features


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    crops = textured_crops(3, "train", seed=1) + textured_crops(3, "test", seed=2)
    return crop_manifest(tmp_path / "m", crops)


@pytest.fixture
def leaking(clean: Path) -> Path:
    """An image of train is also in test, in a video with another name."""
    crops = clean.parent / "crops"
    (crops / "test1.png").write_bytes((crops / "train0.png").read_bytes())
    return clean


def audit(*arguments: object) -> int:
    return main(["audit", *map(str, arguments)])


def test_a_clean_manifest_is_exit_code_0(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (clean, clean.parent):
        assert audit(path) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == f"no leak found in {clean}: 12 rows of 12 videos, splits: train, test"
        assert any("near-duplicate-crops" in line for line in lines)
        (shared,) = [line for line in lines if line.strip().startswith("train, test")]
        assert shared.split()[2:] == ["0", "0", "0", "0"]


def test_a_leak_is_exit_code_1_with_its_place_in_words_and_files(
    leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, sheet = tmp_path / "new" / "audit.json", tmp_path / "pairs.png"
    assert audit(leaking, "--json", result, "--sheet", sheet, "--workers", "1") == 1
    lines = capsys.readouterr().out.splitlines()
    assert (
        "leak of identical-crops: train and test share 1 (rows: 2, videos: 2), such as one image "
        "(train: crops/train0.png, test: crops/test1.png)"
    ) in lines
    assert lines[-1].startswith(f"LEAK: identical-crops in {leaking}: 12 rows of 12 videos")
    assert [leak["kind"] for leak in json.loads(result.read_text())["leaks"]] == ["identical-crops"]
    assert cv2.imread(str(sheet)).shape[1] > 1000


def test_crops_can_be_left_out(leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(leaking, "--no-crops", "--sheet", tmp_path / "pairs.png") == 0
    shown = capsys.readouterr().out
    assert "note: crops were not compared, only names" in shown
    assert "pairs.png: no duplicate crops" in shown
    assert not (tmp_path / "pairs.png").exists()


def test_rows_can_be_chosen(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(leaking, "--where", "path <> 'crops/test1.png'") == 0
    assert "11 rows of 11 videos" in capsys.readouterr().out


@pytest.fixture
def looks(clean: Path) -> Path:
    """Features by which train0 and test2 are alike; taken when test2 was still of train."""
    rng, tables = np.random.default_rng(0), []
    rows = read_manifest(clean).columns(["path", "split"]).to_pylist()
    common = rng.normal(size=16)
    for row in rows:
        is_alike = row["path"] in ("crops/train0.png", "crops/test2.png")
        features = common + 0.05 * rng.normal(size=16) if is_alike else rng.normal(size=16)
        split = "train" if is_alike else row["split"]
        table = feature_table(features[None], split=split, method="m", video_ids=[row["path"]])
        tables.append(replace(table, paths=np.array([f"m/{row['path']}"], object)))
    stranger = replace(
        feature_table(common[None], split="test", method="m"), paths=np.array(["x.png"], object)
    )
    return write_features(clean.parents[1] / "features.h5", [*tables, stranger])


@pytest.mark.parametrize(
    ("options", "kind", "shared"),
    [
        ([], "near-duplicate-crops", ["0", "0", "0", "0", "+", "1"]),
        (["--similar-are", "people"], "identities", ["0", "0", "+", "1", "0", "0"]),
    ],
)
def test_faces_alike_by_their_features_are_a_leak(
    options: list[str], kind: str, shared: list[str], clean: Path, looks: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    result, sheet = tmp_path / "audit.json", tmp_path / "pairs.png"
    command = [clean, "--features", looks, *options, "--json", result, "--sheet", sheet]
    assert audit(*command, "--min-similarity", "0.9") == 1
    lines = capsys.readouterr().out.splitlines()
    (leak,) = json.loads(result.read_text())["leaks"]
    assert (leak["kind"], leak["first"], leak["second"], leak["count"]) == (kind, "train", "test", 1)
    assert (leak["examples"][0]["first"], leak["examples"][0]["second"]) == (
        "crops/train0.png",
        "crops/test2.png",
    )
    (printed,) = [line for line in lines if line.strip().startswith("train, test")]
    assert printed.split()[2:] == shared
    assert any(f"note: {kind} were also compared by the features of" in line and "12 of the 12 rows" in line
               for line in lines)  # fmt: skip
    assert lines[-1].startswith(f"LEAK: {kind} in {clean}")
    assert cv2.imread(str(sheet)).shape[1] > 1000
    sheet.unlink()
    # Without reading crops, what features show is still reported.
    assert audit(*command, "--min-similarity", "0.9", "--no-crops") == 1
    assert sheet.is_file()
    assert audit(clean, "--features", looks, *options, "--min-similarity", "0.9999") == 0
    # Rows that are not asked for do not leak.
    where = ["--where", "path <> 'crops/test2.png'"]
    assert audit(clean, "--features", looks, *options, "--min-similarity", "0.9", *where) == 0
    assert "11 of the 11 rows" in capsys.readouterr().out


def test_features_of_other_crops_are_rejected(
    clean: Path, looks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = crop_manifest(tmp_path / "other", textured_crops(2, "train") + textured_crops(2, "test", seed=1))
    for command, message in (
        ([other, "--features", looks], "are of a crop with a split in"),
        ([clean, "--features", tmp_path / "absent.h5"], "there is no such feature file"),
        ([clean, "--features", looks, "--min-similarity", "2"], "--min-similarity: is 2.0"),
        ([clean, "--min-similarity", "0.9"], "--min-similarity: has no effect without --features"),
        ([clean, "--similar-are", "people"], "--similar-are: has no effect without --features"),
    ):
        assert audit(*command) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_what_should_be_looked_at_is_noted(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read_manifest(clean).table.to_pylist()
    for row in rows:
        row["native_size"] = 300 if row["label"] else 100
    rows[-1]["split"] = None
    rows[-2]["method"] = "[bold]x"  # no markup
    write_manifest(clean, rows_to_table(rows), geometry=CropGeometry())
    crops = clean.parent / "crops"
    (crops / "train1.png").unlink()
    (crops / "fake-train2.png").write_bytes((crops / "train2.png").read_bytes())
    cv2.imwrite(str(crops / "test0.png"), np.full((40, 40, 3), 9, np.uint8))
    assert audit(clean) == 0
    shown = capsys.readouterr().out
    assert "warning: train: size alone separates the classes (AUC of native size 1.000: fakes" in shown
    assert "note: skipped 1 row without a split" in shown
    assert "warning: cannot read 1 crop, such as crops/train1.png" in shown
    assert (
        "warning: found 1 image labeled both real and fake (identical bytes), such as crops/train2.png"
        in shown
    )
    assert "note: skipped 1 crop with too little contrast to be compared visually" in shown
    assert "[bold]x" in shown


def test_an_index_of_videos_is_audited_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = [
        DatasetVideo("D", f"D/m/{name}", "m", 0, split, None, "anna", None, tmp_path / f"{name}.mp4")
        for name, split in (("a", "train"), ("b", "val"))
    ]
    origin = IndexOrigin(("folder",), ("/data",), "official", 0, "")
    write_index(tmp_path / "videos.parquet", videos, origin=origin)
    assert audit(tmp_path / "videos.parquet") == 1
    shown = capsys.readouterr().out
    assert "note: this is an index of videos: there are no crops to compare" in shown
    assert "leak of identities: train and val share 1 " in shown


def test_crops_that_cannot_be_read_are_no_success(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crops = clean.parent / "crops"
    (crops / "train1.png").write_bytes(b"no picture")
    (crops / "test2.png").unlink()
    assert audit(clean) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "no leak found among the readable crops; 2 of 12 could not be read: "
        f"{clean}: 12 rows of 12 videos, splits: train, test"
    )
    for crop in crops.glob("*.png"):
        crop.unlink()
    assert audit(clean) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        f"error: {clean}: none of its 12 crops could be read; extract again, or compare names only with "
        "--no-crops"
    ]
    assert "no leak found" not in shown.out
    assert audit(clean, "--no-crops") == 0
    rows = read_manifest(clean).table.to_pylist()
    rows[-1]["target_id"] = rows[0]["target_id"]
    write_manifest(clean, rows_to_table(rows), geometry=CropGeometry())
    assert audit(clean) == 1  # what is found is found, read or not


@pytest.mark.parametrize("option", ["--json", "--sheet"])
def test_what_is_audited_is_not_overwritten(
    option: str, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(clean)
    before = clean.read_bytes()
    named = clean if option == "--json" else link
    for audited, output in ((clean, named), (clean.parent, named), (link, clean.with_name("x.png"))):
        if not output.exists():
            output.hardlink_to(clean)
        assert audit(audited, option, output) == 2
        assert f"error: {option}: {output} is the audited file; choose another" in capsys.readouterr().err
    assert clean.read_bytes() == before
    assert not (clean.parent / "crop_hashes.parquet").exists()  # the error comes before the work


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "color = 1"], "--where: 'color = 1' cannot be read"),
        (["--where", "split = 'val'"], "has no rows to audit"),
        (["--sheet", "pairs.jpg"], "pairs.jpg does not end in .png"),
        (["--workers", "0"], "--num-workers: is 0"),
    ],
)
def test_bad_input_is_exit_code_2(
    arguments: list[str], message: str, clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(clean, *arguments) == 2
    assert message in capsys.readouterr().err
    assert audit(clean.with_name("absent.parquet")) == 2


def test_a_sheet_shows_some_of_each_kind(clean: Path, tmp_path: Path) -> None:
    same = [
        DuplicatePair("identical-crops", "train", "test", "crops/train0.png", f"crops/test{n % 3}.png")
        for n in range(30)
    ]
    near = DuplicatePair(
        "near-duplicate-crops", "train", "test", "crops/train1.png", "crops/$test1$.png", 4, 0.99
    )
    (clean.parent / "crops" / "$test1$.png").write_bytes((clean.parent / "crops/test1.png").read_bytes())
    assert save_duplicate_sheet([*same, near], clean.parent, tmp_path / "a.png", max_pairs=6) == 6
    assert save_duplicate_sheet([near], clean.parent, tmp_path / "b.png") == 1
    tall, low = (cv2.imread(str(tmp_path / name)).shape for name in ("a.png", "b.png"))
    assert tall[0] > 1.5 * low[0]  # two lines of five, and one
    with pytest.raises(OptionError, match="pairs: 60 of 0 would be shown; must be 1 or more"):
        save_duplicate_sheet([], clean.parent, tmp_path / "c.png")
    (clean.parent / "crops" / "train1.png").unlink()
    with pytest.raises(ManifestError, match="train1.png"):
        save_duplicate_sheet([near], clean.parent, tmp_path / "c.png")
