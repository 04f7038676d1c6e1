from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.data.crops import read_crop
from deepfake_detect.errors import OptionError, OutputError
from deepfake_detect.lab.gan import fakes
from deepfake_detect.lab.gan.config import FakeSetOptions
from deepfake_detect.lab.gan.fakes import write_fake_set
from deepfake_detect.records import CropGeometry
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.loop import train
from tests.lab.gan.data import squares


def samples(count: int, side: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def test_samples_have_the_label_of_fakes(tmp_path: Path) -> None:
    made = samples(10)
    manifest = write_fake_set(
        tmp_path, made, squares(), FakeSetOptions(), method="gan-conv", show_progress=False
    )
    table = manifest.table.to_pydict()
    assert table["label"] == [1] * 10
    assert table["method"] == ["gan-conv"] * 10
    assert table["split"] == ["train"] * 8 + ["val", "test"]
    assert table["video_id"][3] == "squares/gan-conv/0000003"
    assert table["native_size"] == [8] * 10
    assert (manifest.codec, manifest.geometry) == ("png", CropGeometry(1.2))
    for image, path in zip(made, table["path"], strict=True):
        np.testing.assert_array_equal(read_crop(tmp_path / path), np.repeat(image, 3, axis=2))


def test_reals_are_written_as_the_gan_saw_them(tmp_path: Path) -> None:
    source = squares(30)
    options = FakeSetOptions(splits=(0.5, 0.25, 0.25), with_reals=True)
    arguments = {"method": "gan-dense", "seed": 3, "show_progress": False}
    manifest = write_fake_set(tmp_path, samples(20), source, options, **arguments)  # type: ignore[arg-type]
    reals = manifest.where("label = 0").table.to_pydict()
    assert set(reals["method"]) == {"original"}
    assert sorted(reals["split"]) == ["test"] * 5 + ["train"] * 10 + ["val"] * 5
    assert len(set(reals["path"])) == 20
    for path in reals["path"]:
        image = source.images[int(Path(path).stem)]
        np.testing.assert_array_equal(read_crop(tmp_path / path), np.repeat(image, 3, axis=2))
    again = write_fake_set(tmp_path, samples(20), source, options, **arguments)  # type: ignore[arg-type]
    assert again.where("label = 0").table.to_pydict() == reals


def test_all_reals_are_added_to_more_samples(tmp_path: Path) -> None:
    options = FakeSetOptions(with_reals=True)
    manifest = write_fake_set(
        tmp_path, samples(9), squares(4), options, method="gan-conv", show_progress=False
    )
    assert (manifest.where("label = 0").num_rows, manifest.where("label = 1").num_rows) == (4, 9)


def test_a_person_is_in_one_split(tmp_path: Path) -> None:
    people = tuple(f"p{number % 7}" for number in range(60))
    source = replace(squares(60), people=people)
    options = FakeSetOptions(splits=(0.4, 0.3, 0.3), with_reals=True)
    manifest = write_fake_set(tmp_path, samples(60), source, options, method="gan-dcgan", show_progress=False)
    reals = manifest.where("label = 0").table.to_pydict()
    of_person: dict[str, set[str]] = {}
    for person, split, path in zip(reals["target_id"], reals["split"], reals["path"], strict=True):
        assert person == people[int(Path(path).stem)]
        of_person.setdefault(person, set()).add(split)
    assert all(len(splits) == 1 for splits in of_person.values())
    assert set.union(*of_person.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("splits", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.5, 0.5)])
def test_fractions_that_do_not_add_up_are_rejected(splits: tuple[float, ...]) -> None:
    message = r"splits: are .*; must be three fractions of train, val and test that add up"
    with pytest.raises(OptionError, match=message):
        FakeSetOptions(splits=splits)


@pytest.mark.filterwarnings("ignore:the probabilities stay uncalibrated")  # the fakes are too easy
def test_a_detector_is_trained_on_the_set(tmp_path: Path) -> None:
    options = FakeSetOptions(splits=(0.5, 0.25, 0.25), with_reals=True)
    manifest = write_fake_set(
        tmp_path / "set",
        samples(16, 16, 3),
        squares(16, 16, 3),
        options,
        method="gan-conv",
        show_progress=False,
    )
    config = TrainingConfig(
        manifest=manifest.path,
        backbone="small_cnn",
        image_size=16,
        out=tmp_path / "run",
        head_epochs=0,
        epochs=1,
        batch_size=8,
        num_workers=0,
        device="cpu",
        sanity=False,
        augmentation="none",
        recalibrate_batches=0,
        allow_leak=("near-duplicate-crops", "identical-crops"),
    )
    train(config)
    assert (tmp_path / "run" / "detector.safetensors").is_file()


def test_while_crops_are_replaced_there_is_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(count: int) -> None:
        write_fake_set(
            tmp_path, samples(count), squares(), FakeSetOptions(), method="gan-conv", show_progress=False
        )

    write(4)

    def full(path: Path, image: np.ndarray) -> None:
        raise OutputError(path, "cannot be written", "choose another folder")

    monkeypatch.setattr(fakes, "save_image", full)
    with pytest.raises(OutputError, match="cannot be written"):
        write(2)
    assert not (tmp_path / "manifest.parquet").exists()
