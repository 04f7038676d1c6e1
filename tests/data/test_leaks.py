"""A leak ends training and evaluation, whatever a condition hides, unless its kind is allowed by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.data import leaks
from deepfake_detect.data.audit_report import CROP_KINDS, LEAK_KINDS
from deepfake_detect.data.crop_hashes import CACHE_NAME
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import Manifest, read_manifest, rows_to_table, write_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import CropGeometry
from tests.data.test_audit import changed, clean, manifest_of, video


@pytest.mark.parametrize("kind", LEAK_KINDS)
def test_each_kind_is_allowed_by_its_own_name_only(kind: str, tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    rows = read_manifest(path).table.to_pylist()
    first, last = rows[0], rows[-1]  # train, test
    crops = path.parent / "crops"
    if kind == "videos":
        last["video_id"] = first["video_id"]
    elif kind == "identities":
        last["source_id"] = first["target_id"]
    else:
        picture = np.random.default_rng(7).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        image = cv2.resize(picture, (160, 160), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path.parent / first["path"]), image)
        again = image if kind == "identical-crops" else cv2.GaussianBlur(image, (3, 3), 0)
        cv2.imwrite(str(path.parent / last["path"]), again)
    assert crops.is_dir()
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry())
    leaking = read_manifest(path)
    others = [one for one in LEAK_KINDS if one != kind]
    with pytest.raises(
        ManifestError, match=f"its splits leak: {kind}: train and test share 1 .*`allow_leak` {kind}$"
    ):
        check_no_leak(leaking, allowed=others, show_progress=False)  # type: ignore[arg-type]
    assert check_no_leak(leaking, allowed=[kind], show_progress=False) == ()  # type: ignore[list-item]


def test_all_leaks_of_names_are_in_the_error_and_crops_are_not_read_for_it(tmp_path: Path) -> None:
    videos = [video("a", "train", "anna"), video("a", "test", "anna"), video("b", "val", "anna")]
    rows = manifest_of(tmp_path, videos)
    with pytest.raises(ManifestError) as refusal:
        check_no_leak(rows)
    assert "also identities: train and val share 1" in str(refusal.value)
    assert str(refusal.value).endswith("or allow it: `allow_leak` videos identities identical-crops")
    assert not (tmp_path / CACHE_NAME).exists()


def test_what_is_evaluated_is_compared_with_the_others_only(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    people = [row["target_id"] for row in read_manifest(path).table.to_pylist()]
    people[8] = people[0]  # a person of train in val
    rows = changed(path, target_id=people)
    check_no_leak(rows, evaluated="test", show_progress=False)
    for evaluated in ("val", "train", None):
        with pytest.raises(ManifestError, match="identities: train and val share 1"):
            check_no_leak(rows, evaluated=evaluated, show_progress=False)
    with pytest.raises(ManifestError, match="identities: train and val share 1"):
        check_no_leak(rows, evaluated="all", show_progress=False)


def test_too_many_crops_are_not_compared_and_that_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clean(tmp_path / "m")
    crops = path.parent / "crops"
    (crops / "test1.png").write_bytes((crops / "train0.png").read_bytes())
    monkeypatch.setattr(leaks, "MAX_CROPS_COMPARED", 23)
    (note,) = check_no_leak(read_manifest(path), show_progress=False)
    assert "its 24 crops were not compared" in note
    assert note.endswith("audit_manifest compares them")
    monkeypatch.setattr(leaks, "MAX_CROPS_COMPARED", 24)
    with pytest.raises(ManifestError, match="identical-crops"):
        check_no_leak(read_manifest(path), show_progress=False)


def test_crops_are_not_read_when_their_leaks_are_allowed(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    check_no_leak(read_manifest(path), allowed=CROP_KINDS, show_progress=False)
    assert not (path.parent / CACHE_NAME).exists()
    check_no_leak(read_manifest(path), show_progress=False)
    assert (path.parent / CACHE_NAME).exists()


@pytest.fixture
def anna_in_train_and_test(tmp_path: Path) -> Manifest:
    """Rows without crops: only names are compared."""
    videos = [video("a", "train", "anna"), video("b", "train", "bert"), video("v", "val", "vera")]
    return manifest_of(tmp_path / "m", [*videos, video("c", "test", "anna"), video("d", "test", "dora")])


@pytest.mark.parametrize(
    ("condition", "split"),
    [
        ("split = 'test'", "test"),
        ("split == 'test' -- alone", "test"),
        ("video_id = 'made/original/c'", "test"),
        ("split = 'test'", "all"),
        ("split <> 'train'", "all"),
    ],
)
def test_a_condition_does_not_hide_the_splits_it_leaves_out(
    condition: str, split: str, anna_in_train_and_test: Manifest
) -> None:
    with pytest.raises(
        ManifestError,
        match="identities: train and test share 1 .*; make new splits, exclude the evaluated ones of those "
        "rows with `where`, or allow it: `allow_leak` identities$",
    ):
        check_no_leak(anna_in_train_and_test.where(condition), evaluated=split, allowed=CROP_KINDS)


def test_rows_sampled_are_compared_with_the_others_too(anna_in_train_and_test: Manifest) -> None:
    drawn = anna_in_train_and_test.where("split = 'test'").sample_videos(2)
    with pytest.raises(ManifestError, match="identities: train and test share 1 "):
        check_no_leak(drawn, evaluated="test", allowed=CROP_KINDS)


def test_evaluated_rows_that_leak_can_be_left_out(anna_in_train_and_test: Manifest) -> None:
    """But not the rows of training that they leak from: they were trained on all the same."""
    without = anna_in_train_and_test.where("not (split = 'test' and target_id = 'anna')")
    assert check_no_leak(without, evaluated="test", allowed=CROP_KINDS) == ()
    hidden = anna_in_train_and_test.where("not (split = 'train' and target_id = 'anna')")
    with pytest.raises(ManifestError, match="identities: train and test share 1 "):
        check_no_leak(hidden, evaluated="test", allowed=CROP_KINDS)
    assert check_no_leak(hidden, allowed=CROP_KINDS) == ()  # for a training that leaves them out


def test_images_of_left_out_splits_are_compared(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    crops = path.parent / "crops"
    (crops / "test1.png").write_bytes((crops / "train0.png").read_bytes())
    rows = read_manifest(path).where("split = 'test'")
    with pytest.raises(ManifestError, match="identical-crops: train and test share 1 "):
        check_no_leak(rows, evaluated="test", show_progress=False)
    chosen = rows.where("path <> 'crops/test1.png'")
    assert check_no_leak(chosen, evaluated="test", show_progress=False) == ()


def test_splits_evaluated_together_are_compared_and_reported(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    rows = read_manifest(path)
    (note,) = check_no_leak(rows, evaluated="all", show_progress=False)
    assert note == f"{path}: splits are evaluated together, training rows included: train, val, test"
    held_out = rows.where("split <> 'train'")
    (note,) = check_no_leak(held_out, evaluated="all", show_progress=False)
    assert note == f"{path}: splits are evaluated together: val, test"
    people = rows.column("target_id").tolist()
    people[8] = people[16]  # a person of test in val
    leaking = changed(path, target_id=people)
    with pytest.raises(ManifestError, match="identities: val and test share 1 "):
        check_no_leak(leaking, evaluated="all", show_progress=False)


def test_evaluated_rows_without_a_split_are_reported(tmp_path: Path) -> None:
    videos = [video("a", "train", "anna"), video("b", None, "anna"), video("c", "", "anna")]
    rows = manifest_of(tmp_path, videos)
    (note,) = check_no_leak(rows.where("split is null or split = ''"), evaluated="all")
    assert "2 evaluated rows have no split and are not compared" in note
    assert check_no_leak(rows, allowed=CROP_KINDS) == ()  # an empty split is no other split


def test_a_evaluated_split_without_rows_is_rejected(anna_in_train_and_test: Manifest) -> None:
    with pytest.raises(OptionError, match="has no row of split 'test'"):
        check_no_leak(anna_in_train_and_test.where("split = 'val'"), evaluated="test")


def test_one_file_in_two_splits_is_rejected_at_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "MAX_CROPS_COMPARED", 0)
    first, second = video("a", "train", "anna", num_frames=3), video("b", "test", "bert", num_frames=2)
    second[1]["path"] = first[2]["path"]
    rows = manifest_of(tmp_path, [first, second])
    with pytest.raises(
        ManifestError,
        match=r"identical-crops: train and test share 1 \(rows: 2, videos: 2\), such as crops/a_2.png "
        r"\(train: made/original/a, test: made/original/b\)",
    ):
        check_no_leak(rows)
    assert not (tmp_path / CACHE_NAME).exists()
    (note,) = check_no_leak(rows, allowed=["identical-crops"])
    assert "its 5 crops were not compared with one another, only names and paths (more than 0)" in note


def test_crops_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    for name in ("train1", "test0"):
        (path.parent / "crops" / f"{name}.png").unlink()
    (note,) = check_no_leak(read_manifest(path), show_progress=False)
    first = path.parent / "crops" / "train1.png"
    assert note == f"{path}: 2 of 24 crops cannot be read and were not compared, first {first}"


def test_an_unknown_kind_cannot_be_allowed(anna_in_train_and_test: Manifest) -> None:
    with pytest.raises(
        OptionError, match="allow_leak: 'frames' is unknown; must be one of videos, identities, "
    ):
        check_no_leak(anna_in_train_and_test, allowed=["frames"])  # type: ignore[list-item]
