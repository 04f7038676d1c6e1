from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.pairs import UADFV as LAYOUT
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures import assert_sound, make_folder, make_uadfv, place_videos, tiny_clip


def read(root: Path, **options: tuple[str, ...]) -> VideoListing:
    listing = LAYOUT.read(root, Selection(**options))  # type: ignore[arg-type]
    assert_sound(listing)
    return listing


def test_the_full_tree_has_the_published_counts(tmp_path: Path) -> None:
    listing = read(make_uadfv(tmp_path))
    assert listing.counts() == {"real": (49, 49), "fake": (49, 49)}
    assert (listing.missing, listing.ignored, listing.notes) == ((), (), ())
    assert {video.split for video in listing.videos} == {None}


def test_labels_and_identities(tmp_path: Path) -> None:
    videos = {video.path.stem: video for video in read(make_uadfv(tmp_path, num=2)).videos}
    assert {name: video.label for name, video in videos.items()} == {
        "0000": REAL,
        "0001": REAL,
        "0000_fake": FAKE,
        "0001_fake": FAKE,
    }
    assert (videos["0001_fake"].target_id, videos["0001_fake"].source_id) == ("0001", None)
    assert videos["0001"].target_id == "0001"
    assert videos["0001_fake"].video_id == "UADFV/fake/0001_fake"


def test_a_partial_copy_misses_the_partners(tmp_path: Path) -> None:
    root = make_uadfv(tmp_path, num=3)
    (root / "real" / "0001.mp4").unlink()
    (root / "fake" / "0002_fake.mp4").unlink()
    place_videos(root / "real", ["holiday"])
    (root / "fake" / "0001_fake.avi").touch()
    listing = read(root)
    assert [video.path for video in listing.missing] == [
        root / "real" / "0001.mp4",
        root / "fake" / "0002_fake.mp4",
    ]
    assert listing.counts() == {"real": (2, 49), "fake": (2, 49)}
    assert {path.name for path in listing.ignored} == {"holiday.mp4", "0001_fake.avi"}


def test_a_missing_folder_is_reported_and_counted(tmp_path: Path) -> None:
    root = make_uadfv(tmp_path, num=3)
    shutil.rmtree(root / "real")
    listing = read(root)
    assert listing.counts()["real"] == (0, 49)
    assert listing.notes == ("no video of real was found",)


def test_a_misspelled_folder_is_an_error_that_names_the_right_one(tmp_path: Path) -> None:
    root = make_uadfv(tmp_path, num=3)
    (root / "fake").rename(root / "fakes")
    assert LAYOUT.recognize(root) is not None
    with pytest.raises(DatasetLayoutError, match="fakes: is not a folder of UADFV; rename it to fake"):
        read(root)


@pytest.mark.parametrize(("folder", "name"), [("real", "0007_fake"), ("fake", "0007")])
def test_a_name_that_contradicts_its_folder_is_rejected(tmp_path: Path, folder: str, name: str) -> None:
    root = make_uadfv(tmp_path, num=3)
    place_videos(root / folder, [name])
    with pytest.raises(
        DatasetLayoutError, match=f"{name}.mp4: has a name that does not fit the folder {folder}"
    ):
        read(root)


def test_names_show_it_from_a_plain_folder(tmp_path: Path) -> None:
    root = make_uadfv(tmp_path, num=3)
    assert LAYOUT.recognize(root) == "real/, fake/, 0000_fake.mp4"
    shutil.rmtree(root / "fake")
    assert LAYOUT.recognize(root) == "real/, in a folder named UADFV"
    assert LAYOUT.recognize(make_folder(tmp_path)) is None
    # One such name among many others is an accident.
    place_videos(tmp_path / "mine" / "fake", ["0001_fake"])
    place_videos(tmp_path / "mine" / "real", ["anna", "ben"])
    assert LAYOUT.recognize(tmp_path / "mine") is None


def test_trees_without_a_video_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="contains no video of UADFV"):
        read(tmp_path)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read(tmp_path / "absent")


def test_wanted_methods(tmp_path: Path) -> None:
    root = make_uadfv(tmp_path, num=3)
    assert read(root, methods=("fake",)) == read(root)
    with pytest.raises(OptionError, match="methods: is empty"):
        read(root, methods=())


def test_the_videos_of_a_miniature_decode(tmp_path: Path) -> None:
    listing = read(make_uadfv(tmp_path, tiny_clip(tmp_path), num=1))
    assert [read_metadata(video.path).num_frames for video in listing.videos] == [3, 3]
