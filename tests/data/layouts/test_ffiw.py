from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import Selection
from deepfake_detect.data.layouts.pairs import FFIW as LAYOUT
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures_more import make_ffiw, place_video
from tests.media import write_clip

ALL = Selection()
RELEASE = "FFIW10K-v1-release"


def test_the_full_tree_has_the_published_counts(tmp_path: Path) -> None:
    listing = LAYOUT.read(make_ffiw(tmp_path, sizes=(8000, 250, 1738)), ALL)
    assert listing.counts() == {"source": (9988, 9988), "target": (9988, 9988)}
    assert Counter((video.label, video.split) for video in listing.videos) == {
        **{(0, "train"): 8000, (0, "val"): 250, (0, "test"): 1738},
        **{(1, "train"): 8000, (1, "val"): 250, (1, "test"): 1738},
    }
    assert len({video.video_id for video in listing.videos}) == 2 * 9988
    assert not listing.missing
    assert not listing.ignored


def test_source_is_real_and_target_is_fake_and_they_share_their_scene(tmp_path: Path) -> None:
    videos = LAYOUT.read(make_ffiw(tmp_path), ALL).videos
    assert {(video.method, video.label) for video in videos} == {("source", 0), ("target", 1)}
    first = [video for video in videos if video.target_id == "train/train_00000000"]
    assert [video.video_id for video in first] == [
        "FFIW-10K/source/train/train_00000000",
        "FFIW-10K/target/train/train_00000000",
    ]
    assert {video.source_id for video in videos} == {None}


def test_no_scene_is_in_two_splits_even_under_one_name(tmp_path: Path) -> None:
    for split in ("train", "test"):
        place_video(tmp_path / "source" / split / "test_00000000.mp4", None)
    videos = LAYOUT.read(tmp_path, ALL).videos
    assert len({video.video_id for video in videos}) == 2
    assert len({video.target_id for video in videos}) == 2


@pytest.mark.parametrize("folder", ["{}/train", "{}/train/videos"])
def test_videos_may_are_one_folder_deeper(tmp_path: Path, folder: str) -> None:
    for method in ("source", "target", "target_mask"):
        ending = "_mask" if method == "target_mask" else ""
        place_video(tmp_path / folder.format(method) / f"train_00000000{ending}.mp4", None)
    real, fake = LAYOUT.read(tmp_path, ALL).videos
    assert real.mask_path is None
    assert fake.mask_path == tmp_path / folder.format("target_mask") / "train_00000000_mask.mp4"


def test_videos_that_are_not_read_are_named(tmp_path: Path) -> None:
    read = place_video(tmp_path / "source" / "train" / "videos" / "a.mp4", None)
    strays = [
        place_video(tmp_path / "source" / "train" / "beside.mp4", None),
        place_video(tmp_path / "source" / "train" / "videos" / "a.avi", None),
        place_video(tmp_path / "target_mask" / "val" / "videos.mov", None),
    ]
    listing = LAYOUT.read(tmp_path, ALL)
    assert [video.path for video in listing.videos] == [read]
    assert list(listing.ignored) == strays


def test_a_partial_copy_knows_the_partners_of_what_is_there(tmp_path: Path) -> None:
    root = make_ffiw(tmp_path, sizes=(3, 0, 0), with_masks=True) / RELEASE
    (root / "target" / "train" / "train_00000001.mp4").unlink()
    (root / "source" / "train" / "train_00000002.mp4").unlink()
    (root / "target_mask" / "train" / "train_00000002_mask.mp4").unlink()
    (root / "frames").mkdir()
    listing = LAYOUT.read(root, ALL)
    assert listing.counts() == {"source": (2, 9988), "target": (2, 9988)}
    assert [video.video_id for video in listing.missing] == [
        "FFIW-10K/source/train/train_00000002",
        "FFIW-10K/target/train/train_00000001",
    ]
    assert [video.mask_path is None for video in listing.videos] == [True, True, False, True]
    assert listing.ignored == (root / "frames",)


def test_one_archive_alone_is_read(tmp_path: Path) -> None:
    make_ffiw(tmp_path)
    for root in (tmp_path / RELEASE, tmp_path / f"{RELEASE}-test"):
        assert LAYOUT.recognize(root) is not None
    assert {v.split for v in LAYOUT.read(tmp_path / f"{RELEASE}-test", ALL).videos} == {"test"}
    assert {v.split for v in LAYOUT.read(tmp_path / RELEASE, ALL).videos} == {"train", "val"}


@pytest.mark.parametrize(
    ("right", "misspelled"),
    [
        (RELEASE, "FFIW10K-v1-releas"),
        (f"{RELEASE}/source", f"{RELEASE}/sorce"),
        (f"{RELEASE}/source/train", f"{RELEASE}/source/trian"),
        (f"{RELEASE}/target_mask", f"{RELEASE}/target_masks"),
    ],
)
def test_a_misspelled_folder_is_an_error_that_names_the_right_one(
    tmp_path: Path, right: str, misspelled: str
) -> None:
    make_ffiw(tmp_path, with_masks=True)
    (tmp_path / right).rename(tmp_path / misspelled)
    assert LAYOUT.recognize(tmp_path) is not None
    with pytest.raises(DatasetLayoutError, match=f"rename it to {Path(right).name}$"):
        LAYOUT.read(tmp_path, ALL)


def test_other_trees_and_options_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    assert LAYOUT.recognize(tmp_path) is None
    with pytest.raises(DatasetLayoutError, match="contains neither source and target nor"):
        LAYOUT.read(tmp_path, ALL)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        LAYOUT.read(tmp_path / "absent", ALL)
    (tmp_path / "source" / "train").mkdir(parents=True)
    with pytest.raises(
        DatasetLayoutError,
        match="contains no video of (FFIW-10K; expected source|DeeperForensics-1.0; put videos into)",
    ):
        LAYOUT.read(tmp_path, ALL)
    with pytest.raises(OptionError, match="methods: 'source' is unknown; must be one of target"):
        LAYOUT.read(tmp_path, Selection(methods=("source",)))


def test_the_clips_of_a_miniature_decode(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=4)
    fake = LAYOUT.read(make_ffiw(tmp_path / "tree", clip, with_masks=True), ALL).videos[-1]
    assert read_metadata(fake.path).num_frames == 4
    assert fake.mask_path is not None
    assert read_metadata(fake.mask_path).num_frames == 4
