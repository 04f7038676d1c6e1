from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.crops import read_crop
from deepfake_detect.errors import OptionError, OutputError
from deepfake_detect.lab.gan import fakes
from deepfake_detect.lab.gan.fakes import FakeSetOptions, write_fake_set
from deepfake_detect.records import CropGeometry
from tests.lab.gan.data import pictures


def samples(count: int, side: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def test_samples_are_fakes_of_label_one(tmp_path: Path) -> None:
    made = samples(10)
    manifest = write_fake_set(tmp_path, made, pictures(), FakeSetOptions("gan-conv"), show_progress=False)
    table = manifest.table.to_pydict()
    assert table["label"] == [1] * 10
    assert table["method"] == ["gan-conv"] * 10
    assert table["split"] == ["train"] * 8 + ["val", "test"]
    assert table["video_id"][3] == "squares/gan-conv/0000003"
    assert table["native_size"] == [8] * 10
    assert (manifest.codec, manifest.geometry) == ("png", CropGeometry(1.2))
    for image, path in zip(made, table["path"], strict=True):
        np.testing.assert_array_equal(read_crop(tmp_path / path), np.repeat(image, 3, axis=2))


def test_reals_come_as_they_were_learned_from(tmp_path: Path) -> None:
    source = pictures(30)
    options = FakeSetOptions("gan-dense", (0.5, 0.25, 0.25), with_reals=True, seed=3)
    manifest = write_fake_set(tmp_path, samples(20), source, options, show_progress=False)
    reals = manifest.where("label = 0").table.to_pydict()
    assert set(reals["method"]) == {"original"}
    assert sorted(reals["split"]) == ["test"] * 5 + ["train"] * 10 + ["val"] * 5
    assert len(set(reals["path"])) == 20
    for path in reals["path"]:
        image = source.images[int(Path(path).stem)]
        np.testing.assert_array_equal(read_crop(tmp_path / path), np.repeat(image, 3, axis=2))
    again = write_fake_set(tmp_path, samples(20), source, options, show_progress=False)
    assert again.where("label = 0").table.to_pydict() == reals


def test_more_samples_than_reals_take_all_reals(tmp_path: Path) -> None:
    options = FakeSetOptions("gan-conv", with_reals=True)
    manifest = write_fake_set(tmp_path, samples(9), pictures(4), options, show_progress=False)
    assert (manifest.where("label = 0").num_rows, manifest.where("label = 1").num_rows) == (4, 9)


def test_a_person_is_in_one_split(tmp_path: Path) -> None:
    people = tuple(f"p{number % 7}" for number in range(60))
    source = replace(pictures(60), people=people)
    options = FakeSetOptions("gan-dcgan", (0.4, 0.3, 0.3), with_reals=True)
    manifest = write_fake_set(tmp_path, samples(60), source, options, show_progress=False)
    reals = manifest.where("label = 0").table.to_pydict()
    of_person: dict[str, set[str]] = {}
    for person, split, path in zip(reals["target_id"], reals["split"], reals["path"], strict=True):
        assert person == people[int(Path(path).stem)]
        of_person.setdefault(person, set()).add(split)
    assert all(len(splits) == 1 for splits in of_person.values())
    assert set.union(*of_person.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(OptionError, match=r"splits: are .*; pass shares of train, val and test that add up"):
        FakeSetOptions("gan-conv", shares)


@pytest.mark.filterwarnings("ignore:the probabilities stay uncalibrated")  # the fakes are too easy
def test_a_detector_is_trained_against_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = pictures(40, 32, 3)
    options = FakeSetOptions("gan-conv", (0.6, 0.2, 0.2), with_reals=True)
    manifest = write_fake_set(tmp_path / "set", samples(40, 32, 3), source, options, show_progress=False)
    arguments = [
        *("train", "--manifest", str(manifest.path), "--backbone", "test_resnet", "--image-size", "32"),
        *("--out", str(tmp_path / "run"), "--head-epochs", "1", "--epochs", "1", "--batch-size", "12"),
        *("--num-workers", "0", "--device", "cpu", "--no-sanity", "--recalibrate-batches", "0"),
        *("--allow-leak", "near-duplicate-crops", "identical-crops"),
    ]
    assert main(arguments) == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "detector.safetensors").is_file()


def test_while_crops_are_replaced_there_is_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = FakeSetOptions("gan-conv")
    write_fake_set(tmp_path, samples(4), pictures(), options, show_progress=False)

    def full(path: Path, image: np.ndarray) -> None:
        raise OutputError(path, "cannot be written", "choose another place")

    monkeypatch.setattr(fakes, "save_image", full)
    with pytest.raises(OutputError, match="cannot be written"):
        write_fake_set(tmp_path, samples(2), pictures(), options, show_progress=False)
    assert not (tmp_path / "manifest.parquet").exists()
