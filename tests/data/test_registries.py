"""Layouts and augmentations of other packages, in Python and from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.cli import main
from deepfake_detect.data.index import read_index
from deepfake_detect.data.layouts import LAYOUTS, Layout, Selection, VideoListing
from deepfake_detect.data.layouts.base import list_files, make_video_id
from deepfake_detect.data.transforms import AUGMENTATIONS, TrainingAugmentation
from deepfake_detect.errors import OptionError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.registry import Registry
from tests.data.trees import crop_manifest, textured_crops

_LABELS = {"genuine": REAL, "forged": FAKE}


@pytest.fixture(autouse=True)
def unchanged_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    registries: tuple[Registry[object], ...] = (LAYOUTS, AUGMENTATIONS)  # type: ignore[assignment]
    for registry in registries:
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))
        monkeypatch.setattr(registry, "_modules", dict(registry._modules))


def list_videos(root: Path, _: Selection) -> VideoListing:
    videos = [
        DatasetVideo(
            "Mine",
            make_video_id("Mine", folder, None, path.stem),
            folder,
            label,
            None,
            None,
            path.stem,
            None,
            path,
        )
        for folder, label in _LABELS.items()
        for path in list_files(root / folder)
    ]
    return VideoListing(tuple(videos))


def mine(name: str = "mine") -> Layout:
    return Layout(
        name=name,
        dataset="Mine",
        summary="genuine/*.mp4, forged/*.mp4",
        label_source="folders",
        split_source="none",
        published="-",
        recognize=lambda root: "forged/" if (root / "forged").is_dir() else None,
        list_videos=list_videos,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in _LABELS:
        (tmp_path / "tree" / folder).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "tree" / folder / f"{folder}{number}.mp4").touch()
    return tmp_path / "tree"


@pytest.mark.parametrize("options", [[], ["--dataset", "mine"], ["--kind", "mine"]])
def test_a_registered_layout_is_recognized_and_named(options: list[str], tree: Path, tmp_path: Path) -> None:
    layout = mine()
    assert dfd.register_layout(layout) is layout
    out = tmp_path / "videos.parquet"
    assert main(["index", str(tree), "--out", str(out), "--split", "official", *options]) == 0
    assert sorted(video.video_id for video in read_index(out).videos()) == [
        "Mine/forged/forged0",
        "Mine/forged/forged1",
        "Mine/genuine/genuine0",
        "Mine/genuine/genuine1",
    ]
    report = dfd.index_dataset(tree, dataset="mine", methods=("forged",))
    assert (report.layout, report.evidence, len(report.videos)) == ("mine", "as named", 4)
    assert [one.name for one in dfd.list_layouts("mine")] == ["mine"]
    assert main(["datasets", "--dataset", "mine"]) == 0


def test_a_name_is_registered_once(tree: Path) -> None:
    with pytest.raises(
        OptionError, match="dataset: 'mine' is unknown; must be one of deepfakebench, dfd, ffpp"
    ):
        dfd.list_layouts("mine")
    with pytest.raises(OptionError, match="dataset: is 'mine'; must be one of deepfakebench, dfd, ffpp"):
        dfd.index_dataset(tree, dataset="mine")
    with pytest.raises(OptionError, match="dataset: 'uadfv' is registered already"):
        dfd.register_layout(mine("uadfv"))


def invert() -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return lambda crop, rng: 255 - crop if rng.random() < 0.5 else crop


def test_a_registered_augmentation_is_reproducible_and_has_a_sheet(tmp_path: Path) -> None:
    dfd.register_augmentation("invert", invert)
    crop = np.full((8, 8, 3), 10, np.uint8)
    for augmentation in (TrainingAugmentation("invert", 8), TrainingAugmentation(invert(), 8)):
        values = []
        for seed in (*range(20), *range(20)):
            augmentation.reseed(seed)
            values.append(int(augmentation(crop)[0, 0, 0]))
        assert set(values) == {10, 245}
        assert values[:20] == values[20:]
    path, out = crop_manifest(tmp_path / "m", textured_crops(2, "train", size=64)), tmp_path / "sheet.png"
    options = ["--augmentation", "invert", "--image-size", "32", "--crops", "2", "--times", "8"]
    assert main(["show-batch", "--manifest", str(path), "--out", str(out), *options]) == 0
    assert cv2.imread(str(out)).shape[1] == 4 + 9 * 36
