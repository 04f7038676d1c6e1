from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.folder import LAYOUT
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures import (
    assert_sound,
    make_folder,
    place_images,
    place_videos,
    tiny_clip,
)


def read(root: Path, **options: tuple[str, ...]) -> VideoListing:
    listing = LAYOUT.read(root, Selection(**options))  # type: ignore[arg-type]
    assert_sound(listing)
    return listing


def ids(listing: VideoListing) -> list[str]:
    return [video.video_id for video in listing.videos]


def test_videos_images_and_folders_of_frames(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    listing = read(root)
    assert {video.video_id: video.path.relative_to(root).as_posix() for video in listing.videos} == {
        "my_videos/real/a": "real/a.mp4",
        "my_videos/real/b": "real/b.mp4",
        "my_videos/real/day1/a": "real/day1/a.mp4",
        "my_videos/fake/a": "fake/a.mp4",
        "my_videos/fake/clip7": "fake/clip7",
        "my_videos/fake/d": "fake/d.png",
        "my_videos/fake/day1/night/c": "fake/day1/night/c.mp4",
        "my_videos/fake/e": "fake/e.jpg",
    }
    assert listing.notes == (
        "images directly in a class folder, read as one item each: 2",
        "folders of images, read as the frames of one item each: 1",
    )
    assert listing.counts() == {"real": (3, None), "fake": (5, None)}


def test_images_of_phones_are_items(tmp_path: Path) -> None:
    for name in ("real/a.HEIC", "real/b.heif", "fake/c.avif", "fake/clip/1.HEIC"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = read(tmp_path)
    assert [video.path.name for video in listing.videos] == ["a.HEIC", "b.heif", "c.avif", "clip"]
    assert listing.ignored == ()


def test_labels_are_those_of_the_folders(tmp_path: Path) -> None:
    for video in read(make_folder(tmp_path)).videos:
        assert video.label == (FAKE if "fake" in video.path.parts else REAL)
        assert (video.dataset, video.method) == ("my_videos", "fake" if video.label else "real")
        assert (video.target_id, video.source_id, video.split) == (None, None, None)


def test_names_that_differ_only_in_their_suffix_keep_it(tmp_path: Path) -> None:
    place_videos(tmp_path / "fake", ["a", "b"])
    (tmp_path / "fake" / "a.avi").touch()
    (tmp_path / "fake" / "a.mp4.avi").touch()
    place_images(tmp_path / "fake" / "b", ["1.png"])
    place_videos(tmp_path / "real", ["a"])
    names = [video_id.split("/", 1)[1] for video_id in ids(read(tmp_path))]
    assert names == [
        "real/a",
        "fake/a.avi",
        "fake/a.mp4",
        "fake/a.mp4.avi",
        "fake/b",
        "fake/b.mp4",
    ]


@pytest.mark.parametrize(("real", "fake"), [("Real", "FAKE"), ("reals", "Fakes")])
def test_class_folders_in_any_case_and_number(tmp_path: Path, real: str, fake: str) -> None:
    place_videos(tmp_path / real, ["a"])
    place_videos(tmp_path / fake, ["a"])
    assert [video.label for video in read(tmp_path).videos] == [REAL, FAKE]
    assert LAYOUT.recognize(tmp_path) == ", ".join(f"{name}/" for name in sorted([real, fake]))


def test_folders_above_the_classes_are_splits(tmp_path: Path) -> None:
    for name in ("train", "Validation", "test"):
        place_videos(tmp_path / name / "real", ["a"])
        place_videos(tmp_path / name / "fake", ["a"])
    listing = read(tmp_path)
    assert [(video.label, video.split) for video in listing.videos] == [
        *((REAL, split) for split in ("val", "test", "train")),
        *((FAKE, split) for split in ("val", "test", "train")),
    ]
    assert f"{tmp_path.name}/real/train/a" in ids(listing)
    assert LAYOUT.recognize(tmp_path) == (
        "Validation/fake/, Validation/real/, test/fake/, test/real/, train/fake/, train/real/"
    )


def test_a_missing_class_is_reported(tmp_path: Path) -> None:
    place_videos(tmp_path / "fake", ["a"])
    assert LAYOUT.recognize(tmp_path) == "fake/"
    assert read(tmp_path).notes == ("no video of real was found",)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("reall", "real"),
        ("rael", "real"),
        ("train/fakee", "fake"),
        ("tran/real", "train"),
        ("tests/real", "test"),
        ("tset/real", "test"),
    ],
)
def test_a_misspelled_folder_is_an_error_that_names_the_right_one(
    tmp_path: Path, wrong: str, right: str
) -> None:
    place_videos(tmp_path / wrong, ["a"])
    place_videos(tmp_path / ("val/fake" if "/" in wrong else "fake"), ["b"])
    assert LAYOUT.recognize(tmp_path) is not None
    with pytest.raises(
        DatasetLayoutError, match=f"is not a folder of a real/ fake/ tree; rename it to {right}"
    ):
        read(tmp_path)


def test_two_folders_of_a_class_are_rejected(tmp_path: Path) -> None:
    place_videos(tmp_path / "real", ["a"])
    place_videos(tmp_path / "reals", ["a"])
    with pytest.raises(
        DatasetLayoutError, match="reals: contains the same class as real next to it; merge them"
    ):
        read(tmp_path)


def test_strange_files_and_folders_are_ignored_and_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "real" / "notes.txt").touch()
    (root / "real" / ".hidden.mp4").touch()
    (root / "unsorted").mkdir()
    assert {path.name for path in read(root).ignored} == {"notes.txt", "unsorted"}


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    whole = read(root)
    for place in (root / "real", root / "fake" / "day1", root / "fake" / "clip7"):
        (place / "loop").symlink_to(place)
        (place / "up").symlink_to(root)
    assert read(root) == whole
    place_videos(tmp_path / "elsewhere", ["z"])
    (root / "real" / "linked").symlink_to(tmp_path / "elsewhere")
    assert set(ids(read(root))) - set(ids(whole)) == {"my_videos/real/linked/z"}


@pytest.mark.parametrize(("link", "target"), [("train", "."), ("test", "val"), ("fake", "real")])
def test_a_class_folder_that_is_another_one_too_is_rejected(tmp_path: Path, link: str, target: str) -> None:
    place_videos(tmp_path / "real", ["a"])
    place_videos(tmp_path / "val" / "real", ["b"])
    (tmp_path / link).symlink_to(target)
    with pytest.raises(DatasetLayoutError, match=r"is the same folder as \S*; remove the link"):
        read(tmp_path)


def test_a_link_that_leads_nowhere_is_ignored(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    whole = read(root)
    for path in (root / "real" / "gone.mp4", root / "fake" / "gone.png", root / "fake" / "gone"):
        path.symlink_to(tmp_path / "absent")
    listing = read(root)
    assert listing.videos == whole.videos
    assert {path.name for path in listing.ignored} == {"gone.mp4", "gone.png", "gone"}


def test_trees_without_an_item_are_rejected(tmp_path: Path) -> None:
    assert LAYOUT.recognize(tmp_path) is None
    (tmp_path / "real").mkdir()
    with pytest.raises(DatasetLayoutError, match="contains no video or image in a real/ or fake/ folder"):
        read(tmp_path)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read(tmp_path / "absent")


def test_wanted_methods(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    assert read(root, methods=("fake",)) == read(root)
    with pytest.raises(OptionError, match="compression: my_videos has none to choose from; omit it"):
        read(root, compressions=("c23",))


def test_the_videos_of_a_miniature_decode(tmp_path: Path) -> None:
    listing = read(make_folder(tmp_path, tiny_clip(tmp_path)))
    assert read_metadata(listing.videos[0].path).num_frames == 3
