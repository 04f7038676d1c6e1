"""Whose faces are kept of a video that shows several people."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.errors import DatasetError
from deepfake_detect.extraction import ExtractionConfig
from deepfake_detect.extraction.config import PersonPolicy
from deepfake_detect.extraction.person import DetectedFace, choose_people, white_areas
from deepfake_detect.records import FAKE, REAL, DatasetVideo, Face
from tests.data.trees import ffpp_tree
from tests.extraction.helpers import HEIGHT, LARGE, SMALL, WIDTH, extract, mask_clip, two_people_clip


def seen(
    boxes: dict[int, tuple[int, int, int, int]], *, num_frames: int = 4, score: float = 0.99
) -> list[DetectedFace]:
    """Every track's box in each of the first frames."""
    return [
        DetectedFace(
            frame,
            (WIDTH, HEIGHT),
            track,
            Face(np.array(box, np.float32), score, np.zeros((5, 2), np.float32)),
        )
        for frame in range(num_frames)
        for track, box in boxes.items()
    ]


def video(mask: Path | None, *, label: int = FAKE) -> DatasetVideo:
    return DatasetVideo("D", "D/m/0", "m", label, "test", None, None, None, Path("v.mp4"), mask)


TWO = {0: LARGE, 1: SMALL}


def test_the_masked_person_is_kept_not_the_largest(tmp_path: Path) -> None:
    mask = mask_clip(tmp_path / "mask.mp4", SMALL)
    assert choose_people(seen(TWO), video(mask), "auto") == ({1}, "mask")
    assert choose_people(seen(TWO), video(mask), "mask") == ({1}, "mask")
    assert choose_people(seen(TWO), video(mask), "largest") == ({0}, "largest")
    assert choose_people(seen(TWO), video(mask), "all") == ({0, 1}, "all")


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_mask_of_another_size_is_scaled(scale: float, tmp_path: Path) -> None:
    mask = mask_clip(tmp_path / "mask.mp4", SMALL, scale=scale)
    areas = white_areas(mask, seen(TWO))
    assert areas[0] == 0
    assert areas[1] == pytest.approx(4 * (56 * scale) ** 2, rel=0.15)  # the middle half of 110 pixels
    assert choose_people(seen(TWO), video(mask), "auto") == ({1}, "mask")


def test_areas_are_counted_in_the_frames_where_the_face_was(tmp_path: Path) -> None:
    """Who is under the mask in more frames has more of it; frames are matched by their index."""
    from deepfake_detect.video import VideoWriter

    with VideoWriter(tmp_path / "m.mp4", width=64, height=48, frames_per_second=5) as writer:
        for number in range(6):
            frame = np.zeros((48, 64, 3), np.uint8)
            frame[:, 32:] = 255 * (number >= 2)
            writer.write(frame)
    face = Face(np.array([32, 0, 64, 48], np.float32), 0.99, np.zeros((5, 2), np.float32))
    faces = [DetectedFace(n, (64, 48), track, face) for track, n in ((0, 0), (0, 1), (0, 2), (1, 4), (1, 5))]
    assert white_areas(tmp_path / "m.mp4", faces) == {0: 32 * 48, 1: 2 * 32 * 48}


def unusable_masks(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    (folder / "text.mp4").write_text("no video")
    return {
        "black": mask_clip(folder / "black.mp4", None),
        "short": mask_clip(folder / "short.mp4", SMALL, num_frames=3),
        "unreadable": folder / "text.mp4",
        "absent": folder / "absent.mp4",
    }


@pytest.mark.parametrize("kind", ["black", "short", "unreadable", "absent"])
def test_without_a_usable_mask_the_largest_is_kept_or_none(kind: str, tmp_path: Path) -> None:
    mask = unusable_masks(tmp_path / "masks")[kind]
    assert choose_people(seen(TWO), video(mask), "auto") == ({0}, "largest")
    with pytest.raises(
        DatasetError, match=r"v.mp4: has no usable mask of the forged face; download its mask"
    ):
        choose_people(seen(TWO), video(mask), "mask")


@pytest.mark.parametrize("policy", ["auto", "mask"])
def test_a_real_has_no_mask_and_needs_none(policy: PersonPolicy) -> None:
    assert choose_people(seen(TWO), video(None, label=REAL), policy) == ({0}, "largest")
    assert choose_people([], video(None, label=REAL), policy) == (set(), "largest")


def test_a_bystander_never_stands_in_for_a_masked_person_who_was_not_found(tmp_path: Path) -> None:
    mask = mask_clip(tmp_path / "mask.mp4", SMALL)
    assert choose_people(seen({0: LARGE}), video(mask), "auto") == (set(), "mask")


def test_what_is_no_person_is_not_chosen_by_the_mask_either(tmp_path: Path) -> None:
    mask = mask_clip(tmp_path / "mask.mp4", SMALL)
    unsure = seen({1: SMALL}, score=0.7)
    faces = sorted(seen({0: LARGE}) + unsure, key=lambda one: one.frame_index)
    assert choose_people(faces, video(mask), "auto") == (set(), "mask")
    assert choose_people(unsure, video(mask), "auto") == (set(), "largest")


@pytest.fixture
def masked_tree(tmp_path: Path, portrait: np.ndarray) -> Path:
    """The same two people as a real, a fake with a mask over the small one, and a fake with a bad mask."""
    clip = two_people_clip(tmp_path / "two.mp4", portrait)
    names = ("youtube/c23/000", "Deepfakes/c23/000_003", "FaceSwap/c23/000_003")
    tree = ffpp_tree(tmp_path / "tree", dict.fromkeys(names, clip))
    for method, box in (("Deepfakes", SMALL), ("FaceSwap", None)):
        mask_clip(tree / "manipulated_sequences" / method / "masks" / "videos" / "000_003.mp4", box)
    return tree


def test_only_the_forged_person_becomes_a_fake(masked_tree: Path, tmp_path: Path) -> None:
    """A known fault of other tools: bystanders in a forged video are labeled fake too."""
    config = ExtractionConfig(num_frames=4, min_face=20)
    report = extract(masked_tree, tmp_path / "out", config)
    manifest = read_manifest(tmp_path / "out")
    found = {}
    for row in manifest.table.to_pylist():
        left, _, right, _ = row["box_xyxy"]
        side = "small" if (left + right) / 2 > SMALL[0] else "large"
        found.setdefault((row["method"], row["person_choice"]), set()).add(side)
    assert found == {
        ("original", "largest"): {"large"},
        ("Deepfakes", "mask"): {"small"},
        ("FaceSwap", "largest"): {"large"},
    }
    assert manifest.num_rows == 3 * 4
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3 * 4
    assert report.num_without_mask == 1


def test_everyone_or_the_largest_on_request(
    masked_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["extract-faces", str(masked_tree), "--frames", "2", "--min-face", "20", "--workers", "1"]
    kept = {}
    for spelling in (["--person", "largest"], ["--tracks", "main"], ["--tracks", "all"], ["--person", "all"]):
        out = tmp_path / "-".join(spelling)
        assert main([*common, *spelling, "--out", str(out)]) == 0
        rows = read_manifest(out).table.to_pylist()
        kept[" ".join(spelling)] = sorted(
            (row["method"], row["track_id"], row["person_choice"]) for row in rows if row["frame_index"] == 0
        )
    methods = ("Deepfakes", "FaceSwap", "original")
    assert kept["--person largest"] == [(method, 0, "largest") for method in methods]
    assert kept["--person all"] == [(method, track, "all") for method in methods for track in (0, 1)]
    assert kept["--tracks main"] == kept["--person largest"]
    assert kept["--tracks all"] == kept["--person all"]
    with pytest.raises(SystemExit):
        main([*common, "--person", "all", "--tracks", "main", "--out", str(tmp_path / "x")])
    assert "not allowed with argument --person" in capsys.readouterr().err


def test_masks_only(masked_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["extract-faces", str(masked_tree), "--frames", "2", "--min-face", "20", "--workers", "1"]
    assert main([*common, "--out", str(tmp_path / "auto")]) == 0
    assert "the masks of 1 video could not be used" in capsys.readouterr().out
    assert main([*common, "--person", "mask", "--out", str(tmp_path / "mask")]) == 2
    with open(tmp_path / "mask" / "failures.csv", newline="") as file:
        (failure,) = csv.DictReader(file)
    assert (failure["method"], failure["reason"]) == ("FaceSwap", "DatasetError")
    assert set(read_manifest(tmp_path / "mask").column("method")) == {"original", "Deepfakes"}


def test_no_face_under_the_mask_counts_as_no_face(masked_tree: Path, tmp_path: Path) -> None:
    # Only faces from 100 pixels are detected, so the masked one is missed.
    report = extract(masked_tree, tmp_path / "out", ExtractionConfig(num_frames=2, min_face=100))
    assert report.num_without_face == 1
    with open(tmp_path / "out" / "failures.csv", newline="") as file:
        (failure,) = csv.DictReader(file)
    assert failure["method"] == "Deepfakes"
    assert failure["message"] == "no face was found in the white of the mask, in any sampled frame"
