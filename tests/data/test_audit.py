"""Leaks between splits are found, rejected, and allowed by their kind."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepfake_detect.data import leaks
from deepfake_detect.data.audit import audit_rows
from deepfake_detect.data.audit_report import CROP_KINDS, ID_KINDS, LEAK_KINDS, AuditReport
from deepfake_detect.data.compare_names import compare_names, split_pairs
from deepfake_detect.data.identities import identity_key, identity_sql
from deepfake_detect.data.index import IndexOrigin, write_index
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import Manifest, read_manifest, rows_to_table, write_manifest
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.records import CropGeometry, DatasetVideo
from tests.data.trees import crop_manifest, textured_crops


def video(
    name: str,
    split: str | None,
    target: str | None = None,
    source: str | None = None,
    *,
    dataset: str = "made",
    label: int = 0,
    num_frames: int = 1,
    size: int = 100,
) -> list[dict[str, Any]]:
    """The rows of one video."""
    method = "Swap" if label else "original"
    return [
        {
            "dataset": dataset,
            "video_id": f"{dataset}/{method}/{name}",
            "method": method,
            "label": label,
            "split": split,
            "target_id": target,
            "source_id": source,
            "frame_index": frame,
            "path": f"crops/{name}_{frame}.png",
            "native_size": size,
        }
        for frame in range(num_frames)
    ]


def manifest_of(folder: Path, videos: Sequence[list[dict[str, Any]]]) -> Manifest:
    """Write a manifest whose crops are not there: names alone are compared."""
    folder.mkdir(exist_ok=True)
    rows = [row for rows in videos for row in rows]
    write_manifest(folder / "manifest.parquet", rows_to_table(rows), geometry=CropGeometry())
    return read_manifest(folder)


def names_of(rows: Manifest) -> AuditReport:
    return audit_rows(rows, compare_images=False)


def shared(report: AuditReport) -> dict[tuple[str, str, str], int]:
    return {(leak.kind, leak.first, leak.second): leak.count for leak in report.leaks}


def clean(folder: Path) -> Path:
    """Three splits with nothing in common."""
    crops = [
        crop
        for number, split in enumerate(("train", "val", "test"))
        for crop in textured_crops(4, split, seed=number)
    ]
    return crop_manifest(folder, crops)


def changed(path: Path, **columns: list[Any]) -> Manifest:
    """Rewrite columns of a manifest."""
    manifest = read_manifest(path)
    rows = manifest.table.to_pylist()
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    write_manifest(path, rows_to_table(rows), geometry=manifest.geometry)
    return read_manifest(path)


def test_a_clean_manifest_passes(tmp_path: Path) -> None:
    rows = read_manifest(clean(tmp_path / "m"))
    report = audit_rows(rows, show_progress=False)
    assert report.leaks == ()
    assert report.splits == ("train", "val", "test")
    # Each pair of splits by each kind, though nothing was found.
    pairs = list(itertools.combinations(report.splits, 2))
    assert [(one.first, one.second, one.kind) for one in report.overlaps] == [
        (*pair, kind) for pair in pairs for kind in LEAK_KINDS
    ]
    assert (report.num_rows, report.num_videos, report.num_rows_without_split) == (24, 24, 0)
    assert report.crops is not None
    assert report.crops.num_crops == 24
    assert check_no_leak(rows, show_progress=False) == ()


def test_frames_of_one_video_in_two_splits_are_a_leak(tmp_path: Path) -> None:
    """A split of frame rows puts the same videos on both sides."""
    rows = [row for number in range(5) for row in video(f"v{number}", None, num_frames=4)]
    for number, row in enumerate(rows):  # the fault: by row, not by video
        row["split"] = ("train", "train", "train", "test")[number % 4]
    frames = manifest_of(tmp_path / "by_rows", [rows])
    report = names_of(frames)
    (leak,) = report.leaks
    assert (leak.kind, leak.count, leak.num_rows, leak.num_videos) == ("videos", 5, 20, 5)
    assert leak.examples[0].what == "made/original/v0"
    assert (leak.examples[0].first, leak.examples[0].second) == ("crops/v0_0.png", "crops/v0_3.png")
    with pytest.raises(ManifestError, match="videos: train and test share 5 .rows: 20, videos: 5"):
        check_no_leak(frames)
    whole = [video(f"v{number}", "test" if number == 4 else "train", num_frames=4) for number in range(5)]
    assert names_of(manifest_of(tmp_path / "by_videos", whole)).leaks == ()


def test_a_split_by_target_alone_is_a_leak(tmp_path: Path) -> None:
    """People are swapped in pairs; a split that looks at targets only tears most pairs apart."""
    people = [f"{number:03d}" for number in range(40)]
    pairs = [tuple(people[number : number + 2]) for number in range(0, 40, 2)]
    order = np.random.default_rng(0).permutation(40)
    by_target = {people[person]: "test" if rank < 12 else "train" for rank, person in enumerate(order)}
    by_pair = {name: "test" if number < 6 else "train" for number, pair in enumerate(pairs) for name in pair}

    def fakes(split_of: dict[str, str]) -> list[list[dict[str, Any]]]:
        return [
            video(f"{a}_{b}", split_of[a], a, b, label=1) for pair in pairs for a, b in (pair, pair[::-1])
        ]

    faulty = manifest_of(tmp_path / "faulty", fakes(by_target))
    (leak,) = names_of(faulty).leaks
    assert leak.kind == "identities"
    torn = {name for pair in pairs for name in pair if by_target[pair[0]] != by_target[pair[1]]}
    assert leak.count == len(torn) >= 12
    with pytest.raises(ManifestError, match="identities: train and test share"):
        check_no_leak(faulty, evaluated="test")
    assert names_of(manifest_of(tmp_path / "sound", fakes(by_pair))).leaks == ()


def test_a_validation_split_equal_to_the_test_split_is_a_leak(tmp_path: Path) -> None:
    held_out = [f"v{number}" for number in range(3)]
    videos = [video("t", "train", "anna")]
    videos += [video(name, split, name) for split in ("val", "test") for name in held_out]
    rows = manifest_of(tmp_path, videos)
    assert shared(names_of(rows)) == {
        (kind, "val", "test"): 3 for kind in ("videos", "identities", "identical-crops")
    }
    with pytest.raises(ManifestError, match="videos: val and test share 3"):
        check_no_leak(rows)
    with pytest.raises(ManifestError, match="videos: val and test share 3"):
        check_no_leak(rows, evaluated="test")
    check_no_leak(rows.where("split <> 'val'"), allowed=CROP_KINDS)


def test_a_source_here_that_is_a_target_there_is_a_leak(tmp_path: Path) -> None:
    videos = [video("a", "train", "anna", "bert", label=1), video("b", "test", "bert", num_frames=3)]
    rows = manifest_of(tmp_path, [*videos, video("c", "train", "carl")])
    (leak,) = names_of(rows).leaks
    assert (leak.kind, leak.count, leak.num_rows, leak.num_videos) == ("identities", 1, 4, 2)
    (example,) = leak.examples
    assert (example.what, example.first, example.second) == ("made:bert", "made/Swap/a", "made/original/b")


def test_names_of_people_are_a_datasets_own(tmp_path: Path) -> None:
    ffpp = "FaceForensics++"
    apart = manifest_of(
        tmp_path / "apart",
        [
            video("a", "train", "003", dataset=ffpp),
            video("b", "test", "003", dataset="Celeb-DF"),
            video("c", "test", f"{ffpp}:004", dataset="DF40"),
        ],
    )
    assert names_of(apart).leaks == ()
    together = manifest_of(
        tmp_path / "together",
        [
            video("a", "train", "003", dataset=ffpp),
            video("b", "test", f"{ffpp}:003", dataset="DF40"),
            video("c", "val", "own", f"{ffpp}:003", dataset="DeeperForensics-1.0", label=1),
        ],
    )
    assert set(shared(names_of(together))) == {
        ("identities", *pair) for pair in itertools.combinations(("train", "val", "test"), 2)
    }


def test_the_name_in_sql_is_the_one_that_splits_are_made_by(tmp_path: Path) -> None:
    people = [("A", "003"), ("A", "B:003"), ("B", "003"), ("A", "x/y z'"), ("A", None), ("A", "")]
    people += [("Celeb-DF-v1", "id1"), ("Celeb-DF++", "id1")]
    rows = manifest_of(
        tmp_path, [video(str(n), "train", name, dataset=d) for n, (d, name) in enumerate(people)]
    )
    found = rows.query(f"select {identity_sql('target_id')} as name from rows")["name"].to_pylist()
    assert found == [identity_key(dataset, name) if name else None for dataset, name in people]


def test_an_unknown_person_is_not_a_duplicate(tmp_path: Path) -> None:
    videos = [
        video("a", "train", None),
        video("b", "test", None),
        video("c", "val", ""),
        video("d", "test", ""),
    ]
    assert names_of(manifest_of(tmp_path, videos)).leaks == ()


def test_rows_without_a_split_are_counted_and_not_compared(tmp_path: Path) -> None:
    videos = [video("a", "train", "anna"), video("a", None, "anna"), video("b", None, "anna")]
    rows = manifest_of(tmp_path, videos)
    report = names_of(rows)
    assert report.leaks == ()
    assert report.num_rows_without_split == 2
    assert "there are no two splits to compare" in report.notes
    assert [one.split for one in report.sizes] == ["train", None]
    nothing = audit_rows(rows.where("split is null"), show_progress=False)
    assert nothing.splits == ()
    assert nothing.crops is not None
    assert nothing.crops.num_crops == 0


def test_an_empty_split_is_none(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    rows = read_manifest(path).table.to_pylist()
    splits = [row["split"] for row in rows]
    splits[:4] = ["", None, "", None]
    people = ["train9"] * 4 + [row["target_id"] for row in rows[4:]]
    people[-1] = "train9"
    report = audit_rows(changed(path, split=splits, target_id=people), show_progress=False)
    assert report.leaks == ()
    assert (report.splits, report.num_rows_without_split) == (("train", "val", "test"), 4)
    assert report.crops is not None
    assert report.crops.num_crops == 20
    without = {(one.split, one.label): one.num_rows for one in report.balance if not one.split}
    assert without == {(None, 0): 2, (None, 1): 2}
    assert [one.split for one in report.sizes] == ["train", "val", "test", None]


def test_names_are_compared_as_an_obvious_count_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    splits = ("train", "val", "test", "it's another")
    for turn in range(8):
        videos = [
            video(
                f"v{rng.integers(14)}",
                str(rng.choice(splits)),
                rng.choice(["p", "q", "r", "s", "t", "u", None]),
                rng.choice(["p", "q", "u", "w", None]),
                num_frames=int(rng.integers(1, 4)),
            )
            for _ in range(12)
        ]
        rows = [row for one in videos for row in one]
        manifest = manifest_of(tmp_path / str(turn), videos)
        found = {
            (one.kind, one.first, one.second): (one.count, one.num_rows, one.num_videos)
            for one in compare_names(manifest, split_pairs(manifest), ID_KINDS)
        }
        present = [split for split in splits if any(row["split"] == split for row in rows)]
        expected = {}
        for kind, fields in (("videos", ["video_id"]), ("identities", ["target_id", "source_id"])):
            for first, second in itertools.combinations(present, 2):
                held = [
                    {row[field] for row in rows for field in fields if row["split"] == split} - {None}
                    for split in (first, second)
                ]
                both = held[0] & held[1]
                hit = [
                    row
                    for row in rows
                    if row["split"] in (first, second) and both & {row[field] for field in fields}
                ]
                count = (len(both), len(hit), len({row["video_id"] for row in hit}))
                expected[kind, first, second] = count
        assert found == expected


def test_examples_are_few_and_the_first_by_name(tmp_path: Path) -> None:
    names = [f"v{number:02d}" for number in range(25)]
    rows = manifest_of(tmp_path, [video(name, split) for split in ("train", "test") for name in names])
    leak = names_of(rows).leaks[0]
    assert leak.count == 25
    assert [example.what for example in leak.examples] == [f"made/original/{name}" for name in names[:10]]


def test_the_same_bytes_in_two_splits_are_a_leak(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    crops = path.parent / "crops"
    (crops / "test1.png").write_bytes((crops / "train0.png").read_bytes())
    (crops / "test2.png").write_bytes((crops / "train0.png").read_bytes())
    rows = read_manifest(path)
    report = audit_rows(rows, show_progress=False)
    (leak,) = report.leaks
    assert (leak.kind, leak.first, leak.second) == ("identical-crops", "train", "test")
    assert (leak.count, leak.num_rows, leak.num_videos) == (1, 3, 3)  # one image, three rows
    assert (leak.examples[0].first, leak.examples[0].second) == ("crops/train0.png", "crops/test1.png")
    with pytest.raises(ManifestError, match="identical-crops: train and test share 1 "):
        check_no_leak(rows, show_progress=False)
    check_no_leak(rows, allowed=["identical-crops"], show_progress=False)


def test_an_image_stored_again_in_another_split_is_a_leak(
    tmp_path: Path, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    face, other = portrait[0:224, 110:334], portrait[200:424, 200:424]
    crops = [
        (f"{split}{number}", 0, split, one) for split, number, one in (("train", 0, face), ("test", 0, other))
    ]
    path = crop_manifest(tmp_path / "m", crops)
    table = read_manifest(path).table.to_pylist()
    stored = cv2.imencode(".jpg", cv2.resize(face[..., ::-1], (180, 180)), [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    (path.parent / "crops" / "again.jpg").write_bytes(bytes(stored))
    table.append({**table[1], "video_id": "made/again", "target_id": "x", "path": "crops/again.jpg"})
    write_manifest(path, rows_to_table(table), geometry=CropGeometry())
    rows = read_manifest(path)
    report = audit_rows(rows, show_progress=False)
    (leak,) = report.leaks
    assert (leak.kind, leak.count, leak.num_rows, leak.num_videos) == ("near-duplicate-crops", 1, 2, 2)
    assert report.crops is not None
    (pair,) = report.crops.pairs
    assert (pair.first_path, pair.second_path) == ("crops/train0.png", "crops/again.jpg")
    assert pair.likeness > 0.98
    with pytest.raises(ManifestError, match="near-duplicate-crops: train and test share 1 "):
        check_no_leak(rows, show_progress=False)
    assert check_no_leak(rows, allowed=["near-duplicate-crops"], show_progress=False) == ()
    monkeypatch.setattr(leaks, "MAX_NEAR_FRACTION", 1.0)
    (note,) = check_no_leak(rows, show_progress=False)
    assert "few enough to be allowed: near-duplicate-crops: train and test share 1 " in note


def test_one_image_under_two_labels_is_reported_and_no_leak(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    crops = path.parent / "crops"
    (crops / "fake-train1.png").write_bytes((crops / "train0.png").read_bytes())
    report = audit_rows(read_manifest(path), show_progress=False)
    assert report.leaks == ()
    assert report.crops is not None
    assert report.crops.num_label_conflicts == 1
    assert report.crops.label_conflicts == (("crops/train0.png", "crops/fake-train1.png"),)


def test_what_cannot_be_read_or_compared_is_counted(tmp_path: Path) -> None:
    path = clean(tmp_path / "m")
    crops = path.parent / "crops"
    (crops / "train0.png").unlink()
    (crops / "test0.png").write_bytes(b"no picture")
    even = np.full((32, 32, 3), 80, np.uint8)
    for name, value in (("train1", 0), ("test1", 1)):
        cv2.imwrite(str(crops / f"{name}.png"), even + np.uint8(value))
    report = audit_rows(read_manifest(path), show_progress=False)
    assert report.leaks == ()
    assert report.crops is not None
    assert sorted(report.crops.unreadable) == ["crops/test0.png", "crops/train0.png"]
    assert report.crops.num_flat == 2
    assert report.crops.num_label_conflicts == 0


def test_one_file_in_two_splits_is_a_leak_whether_read_or_not(tmp_path: Path) -> None:
    first, second = video("a", "train", "anna"), video("b", "test", "bert")
    second[0]["path"] = first[0]["path"]
    rows = manifest_of(tmp_path, [first, second, video("c", "test", "carl", label=1)])
    for compare_images, what in ((False, "crops/a_0.png"), (True, "one image")):
        report = audit_rows(rows, compare_images=compare_images, show_progress=False)
        (leak,) = report.leaks
        assert (leak.kind, leak.count, leak.num_rows, leak.num_videos) == ("identical-crops", 1, 2, 2)
        assert leak.examples[0].what == what
    assert report.crops is not None
    assert report.crops.unreadable == ("crops/a_0.png", "crops/c_0.png")
    assert report.crops.pairs == ()  # there is no image to show


def test_balance_and_native_sizes(tmp_path: Path) -> None:
    videos = [video(f"r{n}", "train", size=50 + n, num_frames=2) for n in range(20)]
    videos += [video(f"f{n}", "train", size=200 + n, label=1) for n in range(20)]
    videos += [video(f"s{n}", "val", size=100, label=n % 2) for n in range(4)]
    videos += [video("only", "test", size=90)]
    report = names_of(manifest_of(tmp_path, videos))
    counts = {(one.split, one.method, one.label): (one.num_videos, one.num_rows) for one in report.balance}
    assert counts["train", "original", 0] == (20, 40)
    assert counts["train", "Swap", 1] == (20, 20)
    assert counts["test", "original", 0] == (1, 1)
    sizes = {one.split: one for one in report.sizes}
    assert sizes["train"].auc == 1.0
    assert sizes["train"].separates_classes
    # As numpy takes them from the sizes one by one.
    everyone = np.repeat(np.arange(50, 70), 2)
    expected = np.quantile(everyone, [0.1, 0.5, 0.9], method="inverted_cdf").tolist()
    assert list(sizes["train"].real or ()) == expected
    assert sizes["val"].auc == 0.5
    assert not sizes["val"].separates_classes
    assert (sizes["test"].auc, sizes["test"].fake) == (None, None)
    assert not sizes["test"].separates_classes


def test_an_index_of_videos_is_audited_by_names(tmp_path: Path) -> None:
    videos = [
        DatasetVideo("D", f"D/m/{name}", "m", 0, split, None, person, None, tmp_path / f"{name}.mp4")
        for name, split, person in (("a", "train", "anna"), ("b", "test", "anna"), ("c", None, "carl"))
    ]
    origin = IndexOrigin(("folder",), ("/data",), "official", 0, "")
    index = write_index(tmp_path / "videos.parquet", videos, origin=origin)
    report = audit_rows(index)
    assert shared(report) == {("identities", "train", "test"): 1}
    assert report.crops is None
    assert report.sizes == ()
    assert any("index of videos: there are no crops" in note for note in report.notes)


def test_the_report_is_plain_values(tmp_path: Path) -> None:
    rows = manifest_of(tmp_path, [video("a", "train", "anna"), video("a", "test", "anna", label=1)])
    values = audit_rows(rows, show_progress=False).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False))["leaks"][0]["kind"] == "identities"
    assert values["crops"]["unreadable"] == ("crops/a_0.png",)


def test_what_cannot_be_audited_is_rejected(tmp_path: Path) -> None:
    rows = manifest_of(tmp_path, [video("a", "train")])
    with pytest.raises(ManifestError, match="has no rows to audit; choose other rows"):
        audit_rows(rows.where("split = 'test'"))
    with pytest.raises(OptionError, match="num_workers: is 0"):
        audit_rows(rows, num_workers=0)
