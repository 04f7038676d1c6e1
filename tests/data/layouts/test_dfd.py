from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_detect.data.layouts import ffpp
from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.dfd import LAYOUT
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures_more import make_dfd, make_dfd_mirror, make_ffpp, place_video
from tests.media import write_clip

ALL = Selection()


@pytest.mark.parametrize("make", [make_dfd, make_dfd_mirror])
def test_the_full_tree_has_the_published_counts(tmp_path: Path, make: Callable[..., Path]) -> None:
    root = make(
        tmp_path,
        reals=[f"{n % 28 + 1:02d}__scene_{n}" for n in range(363)],
        fakes=[f"{n % 28 + 1:02d}_28__scene__{n:08d}" for n in range(3068)],
    )
    listing = LAYOUT.read(root, ALL)
    assert listing.counts() == {"actors c23": (363, 363), "DeepFakeDetection c23": (3068, 3068)}
    assert len({video.video_id for video in listing.videos}) == 3431
    assert {(video.method, video.label, video.split) for video in listing.videos} == {
        ("actors", 0, None),
        ("DeepFakeDetection", 1, None),
    }


def test_a_video_is_the_same_one_in_either_tree_and_within_faceforensics(tmp_path: Path) -> None:
    def rows(listing: VideoListing) -> list[tuple[object, ...]]:
        return [(v.dataset, v.video_id, v.label, v.target_id, v.source_id) for v in listing.videos]

    official = LAYOUT.read(make_dfd(tmp_path / "official"), ALL)
    mirror = LAYOUT.read(make_dfd_mirror(tmp_path / "mirror"), ALL)
    within = ffpp.LAYOUT.read(tmp_path / "official", Selection(methods=("DeepFakeDetection",)))
    assert rows(official) == rows(mirror) == rows(within)
    assert rows(official)[2] == (
        "FaceForensics++",
        "FaceForensics++/DeepFakeDetection/c23/01_02__exit_phone_room__YVGY8LOK",
        1,
        "actor01",
        "actor02",
    )
    assert "assumed to be c23" in mirror.notes[0]


def test_what_else_the_tree_holds_is_left_out(tmp_path: Path) -> None:
    listing = LAYOUT.read(make_ffpp(tmp_path, with_dfd=True), ALL)
    assert {video.method for video in listing.videos} == {"actors", "DeepFakeDetection"}


def test_a_partial_download_is_listed_and_counted(tmp_path: Path) -> None:
    make_dfd(tmp_path, reals=[f"{n:02d}__scene" for n in range(5)], fakes=[])
    assert LAYOUT.read(tmp_path, ALL).counts() == {
        "actors c23": (5, 363),
        "DeepFakeDetection c23": (0, 3068),
    }


def test_a_real_in_the_fakes_folder_is_no_fake(tmp_path: Path) -> None:
    make_dfd_mirror(tmp_path)
    stray = place_video(tmp_path / "DFD_manipulated_sequences/DFD_manipulated_sequences/01__walk.mp4", None)
    listing = LAYOUT.read(tmp_path, ALL)
    assert listing.ignored == (stray,)
    assert len(listing.videos) == 4


def test_masks_are_found(tmp_path: Path) -> None:
    videos = LAYOUT.read(make_ffpp(tmp_path, with_dfd=True, with_masks=True), ALL).videos
    assert [video.mask_path is not None for video in videos] == [False, False, True, True]


def test_the_mirror_may_nest_its_reals_and_may_nest_nothing(tmp_path: Path) -> None:
    place_video(tmp_path / "DFD_original sequences/DFD_original_sequences/01__walk.mp4", None)
    place_video(tmp_path / "DFD_manipulated_sequences/01_02__walk__ABCDEFGH.mp4", None)
    assert [video.label for video in LAYOUT.read(tmp_path, ALL).videos] == [0, 1]


def test_a_misspelled_folder_is_an_error_that_names_the_right_one(tmp_path: Path) -> None:
    root = make_dfd_mirror(tmp_path / "mirror")
    (root / "DFD_original sequences").rename(root / "DFD_original_sequences")
    assert LAYOUT.recognize(root) is not None
    with pytest.raises(DatasetLayoutError, match="rename it to DFD_original sequences"):
        LAYOUT.read(root, ALL)
    root = make_dfd(tmp_path / "official")
    (root / "original_sequences" / "actors").rename(root / "original_sequences" / "actor")
    with pytest.raises(DatasetLayoutError, match="rename it to actors"):
        LAYOUT.read(root, ALL)


def test_only_its_own_trees_are_recognized(tmp_path: Path) -> None:
    assert "with only" in str(LAYOUT.recognize(make_dfd(tmp_path / "official")))
    assert "Kaggle mirror" in str(LAYOUT.recognize(make_dfd_mirror(tmp_path / "mirror")))
    assert LAYOUT.recognize(make_ffpp(tmp_path / "ffpp", with_dfd=True)) is None
    assert LAYOUT.recognize(tmp_path / "absent") is None


def test_options_that_do_not_fit_and_empty_trees_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match="methods: 'Deepfakes' is unknown; must be one of DeepFakeDetection"
    ):
        LAYOUT.read(tmp_path, Selection(methods=("Deepfakes",)))
    with pytest.raises(
        DatasetLayoutError, match="contains no c40 video of actors.*pass c23 as `compression`"
    ):
        LAYOUT.read(make_dfd(tmp_path), Selection(compressions=("c40",)))
    (tmp_path / "empty" / "DFD_manipulated_sequences").mkdir(parents=True)
    with pytest.raises(DatasetLayoutError, match="contains no video of actors, DeepFakeDetection"):
        LAYOUT.read(tmp_path / "empty", ALL)


def test_the_clips_of_a_miniature_decode(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=4)
    for video in LAYOUT.read(make_dfd_mirror(tmp_path / "mirror", clip), ALL).videos:
        assert read_metadata(video.path).num_frames == 4
