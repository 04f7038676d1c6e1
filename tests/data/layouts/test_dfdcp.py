from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.dfdcp import LAYOUT
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures import assert_sound, make_dfdcp, place_videos, tiny_clip, write_json

REAL_KEY = "original_videos/1000000/1000000_A_000.mp4"
FAKE_KEY = "method_A/1000000/1000000_A/1000001_1000000_A_000.mp4"


def read(root: Path, **options: tuple[str, ...]) -> VideoListing:
    listing = LAYOUT.read(root, Selection(**options))  # type: ignore[arg-type]
    assert_sound(listing)
    return listing


@pytest.fixture
def dfdcp(tmp_path: Path) -> Path:
    return make_dfdcp(tmp_path)


def edit_list(root: Path, key: str, **fields: Any) -> None:
    table = json.loads((root / "dataset.json").read_text())
    write_json(root / "dataset.json", {**table, key: {**table.get(key, {}), **fields}})


def test_the_full_tree_has_the_published_counts(tmp_path: Path) -> None:
    listing = read(make_dfdcp(tmp_path, is_full=True))
    assert listing.counts() == {
        "original_videos": (1131, 1131),
        "method_A": (3400, 3400),
        "method_B": (719, 719),
    }
    assert Counter((video.label, video.split) for video in listing.videos) == {
        (REAL, "train"): 855,
        (REAL, "test"): 276,
        (FAKE, "train"): 3618,
        (FAKE, "test"): 501,
    }
    assert (listing.missing, listing.ignored, listing.notes) == ((), (), ())


def test_words_of_the_list_are_the_labels(dfdcp: Path) -> None:
    table = json.loads((dfdcp / "dataset.json").read_text())
    for video in read(dfdcp).videos:
        fields = table[video.path.relative_to(dfdcp).as_posix()]
        assert video.label == {"fake": 1, "real": 0}[fields["label"]]
        assert video.split == fields["set"]


def test_identities_are_whose_video_and_whose_face(dfdcp: Path) -> None:
    videos = {video.path.relative_to(dfdcp).as_posix(): video for video in read(dfdcp).videos}
    assert (videos[REAL_KEY].target_id, videos[REAL_KEY].source_id) == ("1000000", None)
    assert (videos[FAKE_KEY].target_id, videos[FAKE_KEY].source_id) == ("1000000", "1000001")
    assert videos[FAKE_KEY].video_id == "DFDCP/method_A/1000000/1000000_A/1000001_1000000_A_000"
    edit_list(dfdcp, FAKE_KEY, target_id=None, swapped_id=1000001)
    videos = {video.path.relative_to(dfdcp).as_posix(): video for video in read(dfdcp).videos}
    assert (videos[FAKE_KEY].target_id, videos[FAKE_KEY].source_id) == (None, "1000001")


def test_the_same_clip_of_two_methods_is_two_videos(dfdcp: Path) -> None:
    same = [v.video_id for v in read(dfdcp).videos if v.path.stem == "1000001_1000000_A_000"]
    assert len(same) == 2


def test_a_partial_copy_is_listed_and_counted(dfdcp: Path) -> None:
    (dfdcp / FAKE_KEY).unlink()
    place_videos(dfdcp / "method_B" / "1000000", ["holiday"])
    listing = read(dfdcp)
    assert [video.path for video in listing.missing] == [dfdcp / FAKE_KEY]
    assert listing.counts()["method_A"] == (3, 4)
    assert [path.name for path in listing.ignored] == ["holiday.mp4"]
    assert listing.notes == ("dataset.json lists 4 reals and 8 fakes; published are 1,131 and 4,119",)


def test_links_are_followed_but_not_in_circles(dfdcp: Path, tmp_path: Path) -> None:
    whole = read(dfdcp)
    (dfdcp / "method_A").rename(tmp_path / "moved")
    (dfdcp / "method_A").symlink_to(tmp_path / "moved")
    (tmp_path / "moved" / "1000000").rename(tmp_path / "1000000")
    (tmp_path / "moved" / "1000000").symlink_to(tmp_path / "1000000")
    (tmp_path / "moved" / "loop").symlink_to(tmp_path / "moved")
    assert read(dfdcp) == whole
    (dfdcp / REAL_KEY).unlink()
    (dfdcp / REAL_KEY).symlink_to(tmp_path / "absent.mp4")
    assert [video.path for video in read(dfdcp).missing] == [dfdcp / REAL_KEY]


@pytest.mark.parametrize("key", ["method_A/../../x.mp4", "method_A", "method_A/"])
def test_a_key_that_leads_elsewhere_is_rejected(dfdcp: Path, key: str) -> None:
    edit_list(dfdcp, key, label="fake", set="train")
    with pytest.raises(DatasetLayoutError, match="video_id .* has a part that is empty, . or .."):
        read(dfdcp)


def test_a_missing_folder_is_reported_and_counted(dfdcp: Path) -> None:
    shutil.rmtree(dfdcp / "original_videos")
    listing = read(dfdcp)
    assert listing.counts()["original_videos"] == (0, 4)
    assert "no video of original_videos was found" in listing.notes


def test_a_misspelled_folder_is_an_error_that_names_the_right_one(dfdcp: Path) -> None:
    (dfdcp / "original_videos").rename(dfdcp / "orginal_videos")
    assert LAYOUT.recognize(dfdcp) is not None
    with pytest.raises(
        DatasetLayoutError, match="orginal_videos: is not a folder.*rename it to original_videos"
    ):
        read(dfdcp)


@pytest.mark.parametrize(
    ("key", "fields", "message"),
    [
        (FAKE_KEY, {"label": "real"}, "has the label 'real', which does not fit its folder"),
        (REAL_KEY, {"label": "fake"}, "has the label 'fake', which does not fit its folder"),
        ("method_C/x.mp4", {"label": "fake"}, "method_C/x.mp4 has the label 'fake', which does not fit"),
        (FAKE_KEY, {"label": "forged"}, "has the label 'forged'; it must be one of: fake, real"),
        (FAKE_KEY, {"set": "val"}, "is in the set 'val'; sets are train and test"),
        (FAKE_KEY, {"set": None}, "is in the set None"),
    ],
)
def test_no_label_and_no_set_is_guessed(dfdcp: Path, key: str, fields: dict[str, Any], message: str) -> None:
    edit_list(dfdcp, key, **fields)
    with pytest.raises(DatasetLayoutError, match=message):
        read(dfdcp)


def test_a_tree_without_list_or_videos_is_rejected(tmp_path: Path, dfdcp: Path) -> None:
    for name in ("original_videos", "method_A", "method_B"):
        shutil.rmtree(dfdcp / name)
    with pytest.raises(DatasetLayoutError, match="contains none of the 12 videos of dataset.json"):
        read(dfdcp)
    (dfdcp / "dataset.json").unlink()
    with pytest.raises(DatasetLayoutError, match="dataset.json: does not exist"):
        read(dfdcp)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read(tmp_path / "absent")


def test_folders_and_list_give_the_tree_away(dfdcp: Path, tmp_path: Path) -> None:
    assert LAYOUT.recognize(dfdcp) == "original_videos/, method_A/, method_B/, dataset.json"
    write_json(tmp_path / "other" / "dataset.json", {})
    assert LAYOUT.recognize(tmp_path / "other") is None
    assert LAYOUT.recognize(tmp_path / "absent") is None


def test_wanted_methods_keep_every_real(dfdcp: Path) -> None:
    listing = read(dfdcp, methods=("method_B",))
    assert {video.method for video in listing.videos} == {"original_videos", "method_B"}
    assert set(listing.counts()) == {"original_videos", "method_B"}


def test_the_videos_of_a_miniature_decode(tmp_path: Path) -> None:
    listing = read(make_dfdcp(tmp_path, tiny_clip(tmp_path)))
    assert read_metadata(listing.videos[-1].path).num_frames == 3
