from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import Layout, Selection, VideoListing
from deepfake_detect.data.layouts.celebdf import LAYOUTS, LIST_NAME
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures import (
    assert_sound,
    make_celebdf_pp,
    make_celebdf_v1,
    make_celebdf_v2,
    place_videos,
    tiny_clip,
    write_list,
)

V2, V1, PP = LAYOUTS


def read(root: Path, layout: Layout = V2, **options: tuple[str, ...]) -> VideoListing:
    listing = layout.read(root, Selection(**options))  # type: ignore[arg-type]
    assert_sound(listing)
    return listing


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    return make_celebdf_v2(tmp_path)


def add_lines(root: Path, *lines: str) -> None:
    write_list(root, [*(root / LIST_NAME).read_text().splitlines(), *lines])


def test_v2_has_the_published_counts(tmp_path: Path) -> None:
    listing = read(make_celebdf_v2(tmp_path, is_full=True))
    assert listing.counts() == {
        "Celeb-real": (590, 590),
        "YouTube-real": (300, 300),
        "Celeb-synthesis": (5639, 5639),
    }
    splits = Counter((video.label, video.split) for video in listing.videos)
    assert splits == {(REAL, "test"): 178, (REAL, None): 712, (FAKE, "test"): 340, (FAKE, None): 5299}
    assert (listing.missing, listing.ignored, listing.notes) == ((), (), ())


def test_v1_has_the_published_counts(tmp_path: Path) -> None:
    listing = read(make_celebdf_v1(tmp_path, is_full=True), V1)
    assert listing.counts() == {
        "Celeb-real": (158, 158),
        "YouTube-real": (250, 250),
        "Celeb-synthesis": (795, 795),
    }
    assert Counter(v.label for v in listing.videos if v.split == "test") == {REAL: 38, FAKE: 62}
    assert listing.notes == ()


def test_pp_has_every_method(tmp_path: Path) -> None:
    listing = read(make_celebdf_pp(tmp_path), PP)
    fakes = Counter(video.method for video in listing.videos if video.label == FAKE)
    assert len(fakes) == 22
    assert set(fakes.values()) == {2}
    assert {v.method for v in listing.videos if v.label == REAL} == {"Celeb-real", "YouTube-real"}
    tested = Counter(video.method for video in listing.videos if video.split == "test")
    assert set(tested.values()) == {1}
    assert len(tested) == 24
    assert listing.counts()["Celeb-DF"] == (2, 5639)
    assert listing.counts()["GHOST"] == (2, None)
    assert listing.notes == (f"{LIST_NAME} has 24 videos; the official list of Celeb-DF++ has 5,418",)


def test_one_means_real_in_the_list(v2: Path) -> None:
    """Fake is 1 here; the list is the other way round, and both are seen to agree."""
    lines = (v2 / LIST_NAME).read_text().splitlines()
    assert sorted(line.partition("/")[0] for line in lines) == [
        "0 Celeb-synthesis",
        "0 Celeb-synthesis",
        "1 Celeb-real",
        "1 Celeb-real",
        "1 YouTube-real",
    ]
    labels = {video.method: video.label for video in read(v2).videos}
    assert labels == {"Celeb-real": REAL, "YouTube-real": REAL, "Celeb-synthesis": FAKE}


@pytest.mark.parametrize("line", ["0 Celeb-real/id0_0000.mp4", "1 Celeb-synthesis/id0_id1_0000.mp4"])
def test_a_list_of_the_wrong_polarity_is_rejected(v2: Path, line: str) -> None:
    add_lines(v2, line)
    with pytest.raises(
        DatasetLayoutError, match=r"line 6 gives the label \d to a video of Celeb-.* 1 means real"
    ):
        read(v2)


def test_the_first_line_of_the_list_counts(v2: Path) -> None:
    """It is no header: a reader that skips it tests 517 videos of 518."""
    first = (v2 / LIST_NAME).read_text().splitlines()[0].split("/")[1].removesuffix(".mp4")
    tested = [video.path.stem for video in read(v2).videos if video.split == "test"]
    assert len(tested) == 5
    assert first in tested


def test_a_list_with_mark_windows_ends_and_blank_lines_is_read(v2: Path) -> None:
    text = (v2 / LIST_NAME).read_text()
    before = read(v2)
    (v2 / LIST_NAME).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n\r\n").encode())
    assert read(v2).videos == before.videos


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 Celeb-real/id0_0000.mp4", "line 6 has the label '2'; it must be one of: 0, 1"),
        ("Celeb-real/id0_0000.mp4", "line 6 does not name a video: 'Celeb-real/id0_0000.mp4'"),
        ("1 Youtube-real/00000.mp4", "line 6 does not name a video: '1 Youtube-real/00000.mp4'"),
        ("1 Celeb-real/holiday.mp4", "line 6 does not name a video"),
    ],
)
def test_a_damaged_line_is_rejected_by_its_number(v2: Path, line: str, message: str) -> None:
    add_lines(v2, line)
    with pytest.raises(DatasetLayoutError, match=message):
        read(v2)


def test_a_list_that_is_no_text_is_rejected(v2: Path) -> None:
    (v2 / LIST_NAME).write_bytes(b"1 Celeb-real/\xff\xfe.mp4\n")
    with pytest.raises(DatasetLayoutError, match="is not UTF-8 text"):
        read(v2)


def test_listed_videos_that_are_absent_are_missing_test_videos(v2: Path) -> None:
    add_lines(v2, "1 YouTube-real/00299.mp4", "0 Celeb-synthesis/id7_id8_0001.mp4")
    missing = read(v2).missing
    assert [(video.video_id, video.split) for video in missing] == [
        ("Celeb-DF-v2/YouTube-real/00299", "test"),
        ("Celeb-DF-v2/Celeb-synthesis/id7_id8_0001", "test"),
    ]
    assert missing[1].path == v2 / "Celeb-synthesis" / "id7_id8_0001.mp4"
    assert (missing[1].target_id, missing[1].source_id) == ("id7", "id8")


def test_a_partial_copy_is_counted(v2: Path) -> None:
    assert read(v2).counts()["Celeb-synthesis"] == (6, 5639)
    assert read(v2).notes == (f"{LIST_NAME} has 5 videos; the official list of Celeb-DF-v2 has 518",)


def test_without_its_list_no_video_has_a_split(v2: Path) -> None:
    (v2 / LIST_NAME).unlink()
    listing = read(v2)
    assert {video.split for video in listing.videos} == {None}
    assert listing.notes == (f"{LIST_NAME} is missing: no video has a split",)


def test_a_misspelled_folder_is_an_error_that_names_the_right_one(v2: Path) -> None:
    (v2 / "YouTube-real").rename(v2 / "Youtube-real")
    assert V2.recognize(v2) is not None
    with pytest.raises(
        DatasetLayoutError, match="Youtube-real: is not a folder of Celeb-DF-v2; rename it to YouTube-real"
    ):
        read(v2)


def test_a_missing_folder_is_reported_and_counted(v2: Path) -> None:
    shutil.rmtree(v2 / "YouTube-real")
    listing = read(v2)
    assert listing.counts()["YouTube-real"] == (0, 300)
    assert "no video of YouTube-real was found" in listing.notes
    assert [video.video_id for video in listing.missing] == ["Celeb-DF-v2/YouTube-real/00002"]


def test_misspelled_methods_of_pp_are_rejected(tmp_path: Path) -> None:
    root = make_celebdf_pp(tmp_path) / "Celeb-synthesis"
    (root / "FaceSwap" / "SimSwap").rename(root / "FaceSwap" / "Simswap")
    with pytest.raises(
        DatasetLayoutError, match="Simswap: is not a folder of Celeb-DF.*rename it to SimSwap"
    ):
        read(root.parent, PP)
    (root / "FaceSwap" / "Simswap").rename(root / "FaceSwap" / "SimSwap")
    (root / "TalkingFace").rename(root / "TalkingFaces")
    with pytest.raises(DatasetLayoutError, match="rename it to TalkingFace"):
        read(root.parent, PP)


def test_missing_methods_of_pp_are_reported(tmp_path: Path) -> None:
    root = make_celebdf_pp(tmp_path)
    shutil.rmtree(root / "Celeb-synthesis" / "FaceSwap")
    listing = read(root, PP)
    assert listing.counts()["Celeb-DF"] == (0, 5639)
    assert any(note.startswith("no videos of these methods were found: BlendFace") for note in listing.notes)
    assert len(listing.missing) == 8


def test_identities(v2: Path, tmp_path: Path) -> None:
    def people(root: Path, layout: Layout) -> dict[str, tuple[str | None, str | None]]:
        return {video.path.stem: (video.target_id, video.source_id) for video in read(root, layout).videos}

    of_v2 = people(v2, V2)
    assert of_v2["id0_0000"] == ("id0", None)
    assert of_v2["id0_id1_0000"] == ("id0", "id1")
    assert of_v2["00000"] == ("YouTube-real/00000", None)
    # The people of v1 and ++ are those of v2, under one name over all releases.
    assert people(make_celebdf_v1(tmp_path), V1)["id0_id1_0000"] == ("id0", "id1")
    of_pp = people(make_celebdf_pp(tmp_path), PP)
    assert of_pp["id1_id0_0000"] == ("id1", "id0")
    assert of_pp["id0_0000_test_id00017_wav"] == ("id0", None)
    assert of_pp["00000"] == ("YouTube-real/00000", None)


def test_strange_files_are_ignored_and_named(v2: Path) -> None:
    place_videos(v2 / "Celeb-real", ["holiday"])
    (v2 / "Celeb-real" / "id0_0000.avi").touch()
    (v2 / "extracted").mkdir()
    listing = read(v2)
    assert {path.name for path in listing.ignored} == {"holiday.mp4", "id0_0000.avi", "extracted"}
    assert listing.counts()["Celeb-real"] == (6, 590)


def test_videos_moved_into_a_folder_of_their_own_are_read(v2: Path) -> None:
    before = read(v2)
    for name in ("Celeb-real", "YouTube-real", "Celeb-synthesis"):
        (v2 / name).rename(v2 / "videos")
        (v2 / name).mkdir()
        (v2 / "videos").rename(v2 / name / "videos")
    place_videos(v2 / "Celeb-real", ["id9_0000"])
    after = read(v2)
    assert [v.video_id for v in after.videos] == [v.video_id for v in before.videos]
    assert [v.split for v in after.videos] == [v.split for v in before.videos]
    assert [path.name for path in after.ignored] == ["id9_0000.mp4"]


def test_releases_are_reported_apart(tmp_path: Path) -> None:
    trees = [make_celebdf_v2(tmp_path), make_celebdf_v1(tmp_path), make_celebdf_pp(tmp_path)]
    for layout, root in zip(LAYOUTS, trees, strict=True):
        assert [other.name for other in LAYOUTS if other.recognize(root)] == [layout.name]
    assert V2.recognize(trees[0]) == f"Celeb-real/, YouTube-real/, Celeb-synthesis/, {LIST_NAME} (5 lines)"


def test_the_length_of_the_list_shows_more_than_the_folder_name(tmp_path: Path) -> None:
    root = make_celebdf_v1(tmp_path, is_full=True).rename(tmp_path / "Celeb-DF-v2")
    assert V2.recognize(root) is None
    assert V1.recognize(root) is not None
    with pytest.raises(DatasetLayoutError, match="is Celeb-DF-v1 by its folders and list.*pass celebdf-v1"):
        read(root, V2)


def test_pp_is_not_read_from_fakes_without_methods(v2: Path) -> None:
    """Its reader would find reals only."""
    root = v2.rename(v2.parent / "Celeb-DF++")
    assert PP.recognize(root) is not None
    with pytest.raises(DatasetLayoutError, match="Celeb-synthesis: contains videos itself.*pass celebdf-v2"):
        read(root, PP)
    assert V2.recognize(root.rename(root.parent / "Celeb-DF-cropped")) is not None


def test_where_nothing_shows_v2_is_assumed_and_noted(v2: Path) -> None:
    root = v2.rename(v2.parent / "celeb")
    assert V2.recognize(root) is not None
    assert V1.recognize(root) is None
    assert (
        "neither the list nor the folder's name distinguishes v1 from v2: assumed to be v2"
        in read(root).notes
    )


def test_other_trees_are_not_recognized(tmp_path: Path) -> None:
    place_videos(tmp_path / "real", ["a"])
    place_videos(tmp_path / "Celeb-reals", ["a"])
    assert [layout.recognize(tmp_path) for layout in LAYOUTS] == [None] * 3
    assert V2.recognize(tmp_path / "absent") is None


def test_trees_without_a_video_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=r"contains no video of Celeb-DF-v2; expected Celeb-real/"):
        read(tmp_path)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read(tmp_path / "absent")


def test_wanted_methods_keep_every_real(tmp_path: Path) -> None:
    root = make_celebdf_pp(tmp_path)
    listing = read(root, PP, methods=("GHOST", "LIA"))
    assert {video.method for video in listing.videos} == {"Celeb-real", "YouTube-real", "GHOST", "LIA"}
    assert "Celeb-DF" not in listing.counts()
    assert listing.counts()["YouTube-real"] == (2, 300)
    shutil.rmtree(root / "Celeb-synthesis" / "FaceSwap" / "Celeb-DF")
    write_list(root, ())
    assert read(root, PP).counts()["Celeb-DF"] == (0, 5639)
    assert "Celeb-DF" not in read(root, PP, methods=("GHOST",)).counts()
    with pytest.raises(OptionError, match="methods: 'Ghost' is unknown; must be one of AniTalker"):
        read(root, PP, methods=("Ghost",))
    with pytest.raises(OptionError, match="compression: Celeb-DF.. has none to choose from"):
        read(root, PP, compressions=("c23",))


def test_the_videos_of_a_miniature_decode(tmp_path: Path) -> None:
    listing = read(make_celebdf_v2(tmp_path, tiny_clip(tmp_path)))
    metadata = read_metadata(listing.videos[-1].path)
    assert (metadata.width, metadata.height, metadata.num_frames) == (96, 64, 3)
