"""Pairs of images of one person and of two are told apart as LFW's protocol asks."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect import lab
from deepfake_detect.cli import main
from deepfake_detect.data.sheets import save_image
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.lab.face_pairs import PeopleImages, read_pairs
from deepfake_detect.lab.verification import _prominence, accuracy_by_folds, best_threshold
from deepfake_detect.records import Face

PAIRS = "2\t2\n" + "".join(
    f"{line}\n"
    for line in (
        *("Ann\t1\t2", "Bea\t1\t2", "Ann\t1\tBea\t2", "Bea\t1\tAnn\t2"),
        *("Cay\t1\t2", "Dee\t1\t2", "Cay\t1\tDee\t2", "Dee\t1\tCay\t2"),
    )
)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Four people, a pattern each, with two noisy images."""
    rng = np.random.default_rng(0)
    for name in ("Ann", "Bea", "Cay", "Dee"):
        (tmp_path / "people" / name).mkdir(parents=True)
        pattern = rng.integers(0, 256, (8, 8, 3)).repeat(10, 0).repeat(10, 1)
        for number in (1, 2):
            noisy = np.clip(pattern + rng.normal(0, 4, pattern.shape), 0, 255).astype(np.uint8)
            save_image(tmp_path / "people" / name / f"{name}_{number:04d}.png", noisy)
    (tmp_path / "pairs.txt").write_text(PAIRS)
    return tmp_path / "people"


def test_the_command_and_python_give_the_same_figures_for_folder_and_tar(
    people: Path, small_detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, out = people.parent / "pairs.txt", people.parent / "found.json"
    command = ["lab", "verify-pairs", "--pairs", str(pairs), "--images", str(people), "--crop", "center"]
    command += ["--detector", str(small_detector), "--margin", "2", "--batch-size", "3", "--device", "cpu"]
    assert main([*command, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "pairs: 4 of one person, 4 of two, 2 folds\nAUC 1.000 [" in printed
    assert re.search(r"accuracy \d\.\d{3} \[.+\] at the threshold that is best on the other folds", printed)
    with tarfile.open(people.parent / "people.tar", "w") as tar:
        tar.add(people, "lfw")
    options = lab.VerificationOptions(crop="center", margin=2, device="cpu")
    found = lab.verify_pairs(pairs, people.parent / "people.tar", options, detector=str(small_detector))
    assert found.to_dict() == {**json.loads(out.read_text()), "no_face": ()}
    assert (found.auc.value, found.num_folds, found.no_face) == (1.0, 2, ())


def test_images_without_a_face_are_counted(
    tmp_path: Path, portrait: np.ndarray, small_detector: Path
) -> None:
    for name, image in (
        ("Ann", portrait),
        ("Bea", portrait[:, ::-1]),
        ("Cay", np.zeros((90, 90, 3), np.uint8)),
    ):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            save_image(tmp_path / name / f"{name}_000{number}.png", np.ascontiguousarray(image))
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("2\nAnn 1 2\nCay 1 2\nAnn 1 Bea 2\nBea 1 Cay 1\n")
    options = lab.VerificationOptions(device="cpu")
    found = lab.verify_pairs(pairs, tmp_path, options, detector=str(small_detector))
    assert found.no_face == ("Cay_0001", "Cay_0002")
    assert (found.num_same, found.num_different, found.num_left_out) == (1, 1, 2)
    assert found.accuracy is None
    assert "accuracy: needs 2 or more folds" in found.text()
    assert "skipped: 2 pairs with 2 images without a face" in found.text()
    pairs.write_text("1\nCay 1 2\nAnn 1 Bea 2\n")
    with pytest.raises(DatasetLayoutError, match="leaves 1 pair, all of one kind, with 2 images"):
        lab.verify_pairs(pairs, tmp_path, options, detector=str(small_detector))


def test_the_person_in_the_middle_is_compared() -> None:
    def face(left: float, top: float, right: float, bottom: float) -> Face:
        return Face(np.float32([left, top, right, bottom]), 1.0, np.zeros((5, 2), np.float32))

    middle, border = face(80, 70, 170, 180), face(-20, 100, 90, 220)
    assert _prominence(middle, (250, 250)) > 0 > _prominence(border, (250, 250))
    assert _prominence(middle, (250, 250)) == 90 * 110


def test_a_fold_has_the_threshold_of_the_others() -> None:
    cosines = np.array([0.9, 0.2, 0.5, 0.1])
    is_same, folds = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    found, threshold = accuracy_by_folds(cosines, is_same, folds)
    # .55 from the first fold misses the .5 of the second; .3 from the second is right for the first.
    assert found.value == 0.75
    assert threshold == pytest.approx((0.55 + 0.3) / 2)
    assert (found.low, found.high) == (0.0, 1.0)
    with pytest.raises(OptionError, match="folds: are fewer than 2"):
        accuracy_by_folds(cosines, is_same, np.zeros(4, int))


def test_the_best_threshold_is_that_of_a_search_over_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cosines, is_same = rng.integers(0, 8, 12) / 8, rng.random(12) < 0.5
        cuts = np.linspace(-0.06, 1.07, 200)
        most = max(int(((cosines >= cut) == is_same).sum()) for cut in cuts)
        assert ((cosines >= best_threshold(cosines, is_same)) == is_same).sum() == most


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Ann 1 2\n", "does not start with the number of folds and the number of pairs"),
        ("", "does not start with the number of folds and the number of pairs"),
        ("1 1\nAnn 1 2\n", "has 1 pairs, but its first line says 2"),
        ("1 1\nAnn 1 2\nAnn one Bea 1\n", "has the line 'Ann one Bea 1'"),
        ("1 1\nAnn 1 2\nAnn 1\n", "has the line 'Ann 1'"),
    ],
)
def test_another_form_is_an_error(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(DatasetLayoutError, match=error):
        read_pairs(path)
    with pytest.raises(DatasetLayoutError, match="cannot be read"):
        read_pairs(tmp_path / "absent.txt")


def test_images_that_cannot_be_used_are_errors(people: Path, tmp_path: Path) -> None:
    with PeopleImages(people) as images, pytest.raises(DatasetLayoutError, match="has no image Eve_0001"):
        images.read("Eve_0001")
    with pytest.raises(DatasetLayoutError, match="is neither a folder nor a tar"):
        PeopleImages(tmp_path / "pairs.txt")
    (people / "Ann" / "Ann_0001.png").write_bytes(b"no image")
    with PeopleImages(people) as images, pytest.raises(DatasetLayoutError, match="is not a readable image"):
        images.read("Ann_0001")
    (people / "Bea" / "Ann_0001.jpg").write_bytes(b"")
    with pytest.raises(DatasetLayoutError, match=r"contains Ann_0001\.\w+ twice"):
        PeopleImages(people)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetLayoutError, match="contains no images"):
        PeopleImages(tmp_path / "empty")
