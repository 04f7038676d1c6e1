from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.csv_list import LAYOUT
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures import assert_sound, make_csv, place_videos, tiny_clip


def read(root: Path, **options: Any) -> VideoListing:
    listing = LAYOUT.read(root, Selection(**options))
    assert_sound(listing)
    return listing


def write(folder: Path, text: str, *, videos: Iterable[str] = "abc", name: str = "list.csv") -> Path:
    """Write a CSV next to videos a.mp4, b.mp4, c.mp4."""
    place_videos(folder / "mine", videos)
    (folder / "mine" / name).write_text(text)
    return folder / "mine" / name


def labels(listing: VideoListing) -> dict[str, int]:
    return {video.path.name: video.label for video in listing.videos}


def test_every_column_is_used(tmp_path: Path) -> None:
    videos = {video.path.stem: video for video in read(make_csv(tmp_path)).videos}
    fake = videos["f1"]
    assert fake.video_id == "listed/Swap/c23/clips/f1"
    assert (fake.dataset, fake.method, fake.compression, fake.split) == ("listed", "Swap", "c23", "test")
    assert (fake.label, fake.target_id, fake.source_id) == (FAKE, "ben", "dora")
    assert (videos["r0"].label, videos["r0"].target_id, videos["r0"].source_id) == (REAL, "anna", None)


def test_without_more_columns_names_come_from_the_folder(tmp_path: Path) -> None:
    path = write(tmp_path, "filename,label\na.mp4,1\nb.mp4,0\n")
    assert [video.video_id for video in read(path).videos] == ["mine/real/b", "mine/fake/a"]
    assert read(path).videos == read(path.parent).videos
    assert {video.split for video in read(path).videos} == {None}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lists_that_spreadsheets_save_are_read(tmp_path: Path, encoding: str) -> None:
    text = "path\tlabel\tmethod\nä.mp4\t1\tÜ\nb.mp4\t0\t\n"
    path = write(tmp_path, "", videos=["ä", "b"])
    path.write_bytes(text.encode(encoding))
    assert labels(read(path)) == {"ä.mp4": FAKE, "b.mp4": REAL}
    assert {video.method for video in read(path.parent).videos} == {"Ü", "real"}


def test_quoted_cells(tmp_path: Path) -> None:
    path = write(tmp_path, '"path","label"\n"a.mp4","1"\n"b, c.mp4",0\n', videos=["a", "b, c"])
    assert labels(read(path)) == {"a.mp4": FAKE, "b, c.mp4": REAL}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("columns", [("path", "label"), ("Video_Path", " Is_Fake"), ("file", "CLASS")])
def test_columns_and_delimiters(tmp_path: Path, delimiter: str, mark: str, columns: tuple[str, str]) -> None:
    lines = [(*columns, "x"), ("a.mp4", "1", "7"), ("b.mp4", "0", "8")]
    text = mark + "".join(delimiter.join(cells) + "\r\n" for cells in lines)
    path = write(tmp_path, text)
    assert LAYOUT.recognize(path.parent) == "list.csv with a path and a label column"
    assert labels(read(path)) == {"a.mp4": FAKE, "b.mp4": REAL}


@pytest.mark.parametrize(
    ("fake", "real"), [("1", "0"), ("fake", "real"), ("FAKE", "REAL"), ("Fake", "Real"), ("fake", "0")]
)
def test_fake_is_one_or_the_word(tmp_path: Path, fake: str, real: str) -> None:
    assert labels(read(write(tmp_path, f"path,label\na.mp4,{fake}\nb.mp4,{real}\n"))) == {
        "a.mp4": FAKE,
        "b.mp4": REAL,
    }


@pytest.mark.parametrize("value", ["2", "1.0", "true", "forged", ""])
def test_other_labels_are_rejected(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, f"path,label\na.mp4,1\nb.mp4,{value}\n")
    with pytest.raises(DatasetLayoutError, match=f"line 3 has the label '{value}'; .*`fake_label`"):
        read(path)


@pytest.mark.parametrize(("fake", "real"), [("spoof", "bona fide"), ("0", "1"), ("Forged", "0")])
def test_a_named_label_means_fake(tmp_path: Path, fake: str, real: str) -> None:
    path = write(tmp_path, f"path,label\na.mp4,{fake}\nb.mp4,{real}\nc.mp4,{fake}\n")
    assert labels(read(path, fake_label=fake)) == {"a.mp4": FAKE, "b.mp4": REAL, "c.mp4": FAKE}


def test_a_named_label_must_leave_one_other(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na.mp4,x\nb.mp4,y\nc.mp4,z\n")
    with pytest.raises(OptionError, match="fake_label: .* has more than one label other than 'x': y, z"):
        read(path, fake_label="x")
    with pytest.raises(
        OptionError, match="fake_label: no line of .* has the label 'fake'; labels are: x, y, z"
    ):
        read(path, fake_label="fake")


def test_paths_may_be_windows_ones_absolute_or_untidy(tmp_path: Path) -> None:
    place_videos(tmp_path / "elsewhere", ["d"])
    place_videos(tmp_path / "mine" / "sub", ["a"])
    text = f"path,label\nsub\\a.mp4,0\n./b.mp4,0\n{tmp_path}/elsewhere/d.mp4,1\n../elsewhere/e.mp4,1\n"
    listing = read(write(tmp_path, text))
    assert labels(listing) == {"a.mp4": REAL, "b.mp4": REAL, "d.mp4": FAKE}
    assert [video.path.name for video in listing.missing] == ["e.mp4"]


def test_a_video_is_named_from_the_folder_of_the_csv_on(tmp_path: Path) -> None:
    place_videos(tmp_path / "mine" / "sub", ["a"])
    path = write(tmp_path, f"path,label\nsub/../sub/a.mp4,0\n{tmp_path}/x/../mine/b.mp4,0\n")
    assert [video.video_id for video in read(path).videos] == ["mine/real/b", "mine/real/sub/a"]
    # The same wherever one stands and however the CSV is named.
    assert read(path.parent / "sub" / ".." / "list.csv").videos[0].video_id == "mine/real/b"


@pytest.mark.parametrize("mark", ["", "/"])  # two slashes in front are one
def test_a_video_elsewhere_is_named_from_the_folder_on_that_all_share(tmp_path: Path, mark: str) -> None:
    place_videos(tmp_path / "x" / "y", ["d"])
    place_videos(tmp_path / "x" / "z", ["d", "e"])
    text = f"path,label\n../x/y/d.mp4,0\n../x/z/d.mp4,1\n{mark}{tmp_path}/x/z/e.mp4,1\n"
    path = write(tmp_path, text)
    assert [video.video_id for video in read(path).videos] == [
        "mine/real/y/d",
        "mine/fake/z/d",
        "mine/fake/z/e",
    ]
    path.write_text(text + "a.mp4,0\n")
    assert [video.video_id for video in read(path).videos] == [
        "mine/real/mine/a",
        "mine/real/x/y/d",
        "mine/fake/x/z/d",
        "mine/fake/x/z/e",
    ]
    path.write_text("path,label\n..,1\n")
    assert [video.video_id for video in read(path).videos] == [f"mine/fake/{tmp_path.name}"]


def test_links_stay_as_they_are_written(tmp_path: Path) -> None:
    place_videos(tmp_path / "elsewhere", ["a"])
    path = write(tmp_path, "path,label\nlinked/a.mp4,0\n")
    (path.parent / "linked").symlink_to(tmp_path / "elsewhere")
    assert [video.video_id for video in read(path).videos] == ["mine/real/linked/a"]


@pytest.mark.parametrize("column", ["dataset", "method", "compression", "video_id"])
@pytest.mark.parametrize("value", ["..", ".", "/a", "a//b", "a/", "a/../../b", "mine/../x"])
def test_columns_that_lead_elsewhere_are_rejected(tmp_path: Path, column: str, value: str) -> None:
    path = write(tmp_path, f"path,label,{column}\na.mp4,1,b\nb.mp4,0,{value}\n")
    with pytest.raises(
        DatasetLayoutError, match=f"list.csv: line 3 has the {column} '{value}'; remove parts"
    ):
        read(path)


def test_absent_files_are_missing(tmp_path: Path) -> None:
    listing = read(write(tmp_path, "path,label\na.mp4,1\ngone.mp4,1\nb.mp4,0\n"))
    assert [video.path.name for video in listing.missing] == ["gone.mp4"]
    assert listing.counts() == {"fake": (1, 2), "real": (1, 1)}


def test_repeated_lines_count_once(tmp_path: Path) -> None:
    listing = read(write(tmp_path, f"path,label\na.mp4,1\n./a.mp4,FAKE\nb.mp4,0\n{tmp_path}/mine/b.mp4,0\n"))
    assert labels(listing) == {"a.mp4": FAKE, "b.mp4": REAL}
    assert listing.notes == ("lines left out because they repeat a path: 2",)


@pytest.mark.parametrize("second", ["0,train", "1,test", "1,"])
def test_repeated_lines_that_contradict_are_rejected(tmp_path: Path, second: str) -> None:
    path = write(tmp_path, f"path,label,split\na.mp4,1,train\nb.mp4,0,\na.mp4,{second}\n")
    with pytest.raises(DatasetLayoutError, match="lines 2 and 4 give a.mp4 different labels or splits"):
        read(path)


def test_video_ids(tmp_path: Path) -> None:
    text = "path,label,dataset,video_id\na.mp4,1,D,D/Swap/c23/7\nb.mp4,1,D,8\nc.mp4,0,D,\n"
    assert [video.video_id for video in read(write(tmp_path, text)).videos] == [
        "D/real/c",
        "D/Swap/c23/7",
        "D/fake/8",
    ]


def test_two_videos_of_one_id_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label,video_id\na.mp4,1,7\nb.mp4,1,7\n")
    with pytest.raises(DatasetLayoutError, match="lines 2 and 3 have the video_id 'mine/fake/7'"):
        read(path)


def test_files_that_differ_only_in_their_suffix_are_two_videos(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na.mp4,1\na.avi,1\n")
    path.with_name("a.avi").touch()
    assert [video.video_id for video in read(path).videos] == ["mine/fake/a.avi", "mine/fake/a.mp4"]


def test_splits(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label,split\na.mp4,1,valid\nb.mp4,0,Train\nc.mp4,0,\n")
    assert {video.path.stem: video.split for video in read(path).videos} == {
        "a": "val",
        "b": "train",
        "c": None,
    }
    path.write_text("path,label,split\na.mp4,1,holdout\n")
    with pytest.raises(DatasetLayoutError, match="line 2 is in the split 'holdout'; splits are train, val"):
        read(path)


def test_short_and_long_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label,method\na.mp4,1\n\nb.mp4,0,original,more,and more\n")
    assert [video.method for video in read(path).videos] == ["original", "fake"]
    path.write_text("path,label\n,1\n")
    with pytest.raises(DatasetLayoutError, match="line 2 has no path"):
        read(path)


@pytest.mark.parametrize("text", ["a.mp4,1\nb.mp4,0\n", "path,score\na.mp4,1\n", "name,label\na,1\n", ""])
def test_a_file_without_the_columns_is_rejected(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert LAYOUT.recognize(path) == "CSV file list.csv"
    assert LAYOUT.recognize(path.parent) is None
    with pytest.raises(DatasetLayoutError, match="list.csv: lacks a column of paths or of labels"):
        read(path)


def test_a_file_that_is_no_csv_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, f"path,label\n{'a' * 200_000},1\n")
    with pytest.raises(DatasetLayoutError, match="line 2 cannot be read"):
        read(path)


def test_a_folder_must_hold_one_fitting_csv(tmp_path: Path) -> None:
    folder = write(tmp_path, "path,label\na.mp4,1\n").parent
    (folder / "scores.csv").write_text("name,score\na,0.5\n")
    assert labels(read(folder)) == {"a.mp4": FAKE}
    (folder / "more.csv").write_text("path,label\nb.mp4,0\n")
    assert LAYOUT.recognize(folder) is None
    with pytest.raises(DatasetLayoutError, match="contains 2 CSV files with a path and a label column"):
        read(folder)


def test_a_list_of_which_nothing_is_there_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\nx.mp4,1\ny.mp4,0\n")
    with pytest.raises(
        DatasetLayoutError, match="none of its 2 files exists; paths are relative to the CSV's"
    ):
        read(path)
    path.write_text("path,label\n")
    with pytest.raises(DatasetLayoutError, match="none of its 0 files exists"):
        read(path)


def test_other_files_are_not_recognized(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na.mp4,1\n", name="list.txt")
    assert LAYOUT.recognize(path) is None
    assert LAYOUT.recognize(path.parent) is None


def test_wanted_methods_and_compressions(tmp_path: Path) -> None:
    text = (
        "path,label,method,compression\n"
        "a.mp4,1,Swap,c23\nb.mp4,1,Blend,c23\nc.mp4,0,original,c23\nd.mp4,1,Swap,c40\ngone.mp4,0,original,c40\n"
    )
    path = write(tmp_path, text, videos="abcd")
    listing = read(path, methods=("Swap",))
    assert [video.path.stem for video in listing.videos] == ["c", "a", "d"]
    assert listing.counts() == {
        "Swap c23": (1, 1),
        "original c23": (1, 1),
        "Swap c40": (1, 1),
        "original c40": (0, 1),
    }
    listing = read(path, methods=("Blend",), compressions=("c23",))
    assert [video.path.stem for video in listing.videos] == ["c", "b"]
    assert listing.missing == ()
    assert set(listing.counts()) == {"Blend c23", "original c23"}
    with pytest.raises(OptionError, match="methods: 'original' is unknown; must be one of Blend, Swap"):
        read(path, methods=("original",))
    with pytest.raises(OptionError, match="compression: 'raw' is unknown; must be one of c23, c40"):
        read(path, compressions=("raw",))


def test_the_videos_of_a_miniature_decode(tmp_path: Path) -> None:
    listing = read(make_csv(tmp_path, tiny_clip(tmp_path)))
    assert [read_metadata(video.path).num_frames for video in listing.videos] == [3] * 4


KAGGLE = ",original_path,id,label,label_str,path\n0,/k/1.jpg,1,1,real,train/real/1.jpg\n"


def make_kaggle(folder: Path, text: str) -> Path:
    for name in ("real/1.jpg", "fake/2.jpg"):
        (folder / "train" / name).parent.mkdir(parents=True)
        (folder / "train" / name).touch()
    (folder / "train.csv").write_text(text)
    return folder / "train.csv"


def test_the_word_next_to_a_number_tells_its_meaning(tmp_path: Path) -> None:
    path = make_kaggle(tmp_path, f"{KAGGLE}1,/k/2.jpg,2,0,fake,train/fake/2.jpg\n")
    for root in (path, path.parent):
        listing = read(root)
        assert labels(listing) == {"1.jpg": REAL, "2.jpg": FAKE}
        assert listing.notes == (
            "label 0 means fake here, as label_str says",
            "label 1 means real here, as label_str says",
        )
    assert labels(read(path, fake_label="0")) == {"1.jpg": REAL, "2.jpg": FAKE}
    with pytest.raises(
        DatasetLayoutError, match="line 2 has the label '1', read as fake, but its label_str is 'real'"
    ):
        read(path, fake_label="1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{KAGGLE}1,,2,1,fake,train/fake/2.jpg\n",
            "lines 2 and 3 have the label '1', but label_str is 'real'",
        ),
        (
            "path,label\ntrain/real/1.jpg,1\n",
            "line 2 has the label '1', read as fake, but its path is train/real",
        ),
        (
            f"{KAGGLE}1,,2,0,fake,train/real/9.jpg\n",
            "line 3 .*'0', read as fake, but its path is train/real/9",
        ),
        ("path,label,label_str\ntrain/fake/2.jpg,fake,real\n", "line 2 .*'fake', .* its label_str is 'real'"),
    ],
)
def test_a_contradiction_about_a_label_shows_both(tmp_path: Path, text: str, message: str) -> None:
    path = make_kaggle(tmp_path, text)
    with pytest.raises(DatasetLayoutError, match=message):
        read(path)


def test_words_of_file_names_count_and_other_words_do_not(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\nid0_fake.mp4,0\n", videos=["id0_fake"])
    with pytest.raises(
        DatasetLayoutError, match="label '0', read as real, but its path is id0_fake.mp4; set"
    ):
        read(path)
    names = ["realtime", "Celeb-real/a", "fake_of_real_3"]
    place_videos(tmp_path / "x", names)
    lines = "".join(f"{name}.mp4,{number % 2},m{number}\n" for number, name in enumerate(names))
    (tmp_path / "x" / "list.csv").write_text(f"path,label,class_name\n{lines}")
    assert len(read(tmp_path / "x" / "list.csv").videos) == 3
