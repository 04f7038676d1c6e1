from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.dfdc import LAYOUT
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures import (
    assert_sound,
    dfdc_names,
    make_dfdc,
    make_dfdc_part,
    place_videos,
    tiny_clip,
    write_json,
)


def read(root: Path, **options: tuple[str, ...]) -> VideoListing:
    listing = LAYOUT.read(root, Selection(**options))  # type: ignore[arg-type]
    assert_sound(listing)
    return listing


@pytest.fixture
def dfdc(tmp_path: Path) -> Path:
    return make_dfdc(tmp_path)


def by_name(listing: VideoListing) -> dict[str, DatasetVideo]:
    return {video.path.stem: video for video in (*listing.videos, *listing.missing)}


def edit_metadata(folder: Path, name: str, **fields: Any) -> None:
    """Change what metadata.json says of one video; ``None`` stays null."""
    table = json.loads((folder / "metadata.json").read_text())
    write_json(folder / "metadata.json", {**table, f"{name}.mp4": {**table.get(f"{name}.mp4", {}), **fields}})


def labeled_test_set(root: Path, text: str) -> Path:
    """As on Kaggle: a folder of videos, and the list next to it."""
    place_videos(root / "test_videos", dfdc_names(3))
    (root / "labels.csv").write_text(text)
    return root


def test_several_parts_with_validation_and_test(tmp_path: Path) -> None:
    root = make_dfdc(tmp_path, num_parts=5, num_originals=40, fakes_each=5, num_listed=400)
    listing = read(root)
    assert Counter((video.split, video.label) for video in listing.videos) == {
        ("train", REAL): 200,
        ("train", FAKE): 1000,
        ("val", REAL): 200,
        ("val", FAKE): 200,
        ("test", REAL): 200,
        ("test", FAKE): 200,
    }
    assert listing.counts() == {"real": (600, 600), "fake": (1400, 1400)}
    assert listing.notes == ("5 of 50 train parts are present",)
    assert (listing.missing, listing.ignored) == ((), ())


def test_all_parts_need_no_note(tmp_path: Path) -> None:
    root = make_dfdc(tmp_path, num_parts=50, num_originals=1, fakes_each=1)
    assert read(root).notes == ()


def test_words_of_the_metadata_are_the_labels(dfdc: Path) -> None:
    table = json.loads((dfdc / "dfdc_train_part_1" / "metadata.json").read_text())
    videos = by_name(read(dfdc))
    for name, fields in table.items():
        assert videos[Path(name).stem].label == {"FAKE": 1, "REAL": 0}[fields["label"]]


def test_one_is_fake_in_every_list(dfdc: Path) -> None:
    videos = by_name(read(dfdc))
    table = json.loads((dfdc / "test" / "metadata.json").read_text())
    lines = (dfdc / "validation" / "labels.csv").read_text().splitlines()[1:]
    known = {Path(name).stem: fields["is_fake"] for name, fields in table.items()}
    known |= {line.split(".")[0]: int(line.split(",")[1]) for line in lines}
    assert set(known.values()) == {0, 1}
    assert {name: videos[name].label for name in known} == known


def test_identities_and_groups(dfdc: Path) -> None:
    videos = by_name(read(dfdc))
    real, fake = dfdc_names(2)
    assert (videos[real].target_id, videos[real].group_id) == (real, "dfdc_train_part_0")
    assert (videos[fake].target_id, videos[fake].group_id) == (real, "dfdc_train_part_0")
    assert {video.source_id for video in videos.values()} == {None}
    for video in videos.values():
        if video.split != "train":
            assert video.target_id == (video.path.stem if video.label == REAL else None)
            assert video.group_id is None


@pytest.mark.parametrize("header", ["", "filename,label\n", "Filename, Label\r\n"])
def test_the_first_line_of_labels_counts(tmp_path: Path, header: str) -> None:
    """With a header or without: a reader that always skips one line loses a video."""
    first, second, third = dfdc_names(3)
    root = labeled_test_set(tmp_path, f"{header}{first}.mp4,1\n{second}.mp4,0\n\n{third}.mp4,1\n")
    listing = read(root)
    assert {video.path.stem: video.label for video in listing.videos} == {
        first: FAKE,
        second: REAL,
        third: FAKE,
    }
    assert {video.split for video in listing.videos} == {"test"}
    assert {video.path.parent.name for video in listing.videos} == {"test_videos"}
    assert LAYOUT.recognize(root) == "labels.csv with videos with names of ten letters"


@pytest.mark.parametrize(
    ("line", "message"),
    [("x.mp4,2", "line 2 has the label '2'; it must be one of: 0, 1"), ("x.mp4", "line 2 has no label")],
)
def test_damaged_lines_of_labels_are_rejected(tmp_path: Path, line: str, message: str) -> None:
    root = labeled_test_set(tmp_path, f"{dfdc_names(1)[0]}.mp4,1\n{line}\n")
    with pytest.raises(DatasetLayoutError, match=message):
        read(root)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label": "FORGED"}, "aaaaaaaaab.mp4 has the label 'FORGED'; it must be one of: fake, real"),
        ({"label": None}, "aaaaaaaaab.mp4 has the label None"),
        ({"label": 1}, "aaaaaaaaab.mp4 has the label 1"),
        ({"is_fake": "yes"}, "aaaaaaaaab.mp4 has the label 'yes'"),
        ({"split": "holdout"}, "aaaaaaaaab.mp4 is in the split 'holdout'"),
    ],
)
def test_no_label_and_no_split_is_guessed(dfdc: Path, fields: dict[str, Any], message: str) -> None:
    edit_metadata(dfdc / "dfdc_train_part_0", "aaaaaaaaab", **fields)
    with pytest.raises(DatasetLayoutError, match=message):
        read(dfdc)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a.mp4": {"label": "FAKE"', r"metadata.json: is damaged \(line 1: "),
        ('["a.mp4"]', "does not hold one object for each video"),
        ('{"a.mp4": "FAKE"}', "does not hold one object for each video"),
    ],
)
def test_damaged_metadata_are_rejected(dfdc: Path, text: str, message: str) -> None:
    (dfdc / "dfdc_train_part_1" / "metadata.json").write_text(text)
    with pytest.raises(DatasetLayoutError, match=message):
        read(dfdc)


def test_fakes_without_an_original_have_no_person_and_are_reported(dfdc: Path) -> None:
    edit_metadata(dfdc / "dfdc_train_part_0", "aaaaaaaaab", original=None)
    edit_metadata(dfdc / "dfdc_train_part_0", "aaaaaaaaac", original=float("nan"))
    listing = read(dfdc)
    assert by_name(listing)["aaaaaaaaab"].target_id is None
    assert (
        "train fakes without an original in their list, so that their identity is unknown: 2" in listing.notes
    )


def test_a_partial_part_is_listed_and_counted(dfdc: Path) -> None:
    part = dfdc / "dfdc_train_part_0"
    for name in dfdc_names(3):
        (part / f"{name}.mp4").unlink()
    place_videos(part, ["holiday"])
    listing = read(dfdc)
    assert [video.path.stem for video in listing.missing] == dfdc_names(3)
    assert listing.counts()["fake"] == (10, 12)
    assert [path.name for path in listing.ignored] == ["holiday.mp4"]


def test_a_part_without_its_list_is_left_out_and_reported(dfdc: Path) -> None:
    (dfdc / "dfdc_train_part_1" / "metadata.json").unlink()
    listing = read(dfdc)
    assert [path.name for path in listing.ignored] == ["dfdc_train_part_1"]
    assert "1 of 50 train parts are present" in listing.notes
    assert any(note.startswith("dfdc_train_part_1: left out, its videos have no") for note in listing.notes)


def test_a_tree_without_any_label_is_rejected(tmp_path: Path) -> None:
    place_videos(tmp_path / "dfdc_train_part_0", dfdc_names(2))
    with pytest.raises(
        DatasetLayoutError, match="contains no video with a label; .*metadata.json or labels.csv"
    ):
        read(tmp_path)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read(tmp_path / "absent")


@pytest.mark.parametrize(
    ("wrong", "right"), [("dfdc_trian_part_1", "dfdc_train_part_1"), ("validaton", "validation")]
)
def test_a_misspelled_folder_is_an_error_that_names_the_right_one(dfdc: Path, wrong: str, right: str) -> None:
    """A part would be no group of its own, and the validation videos would be test ones."""
    (dfdc / right).rename(dfdc / wrong)
    assert LAYOUT.recognize(dfdc) is not None
    with pytest.raises(DatasetLayoutError, match=f"{wrong}: is not a folder of DFDC; rename it to {right}"):
        read(dfdc)


@pytest.mark.parametrize("place", ["train/dfdc_train_part_7", "dfdc_train_part_07/dfdc_train_part_7", "."])
def test_a_part_is_read_where_the_archives_put_it(tmp_path: Path, place: str) -> None:
    root = tmp_path / "dfdc_train_part_7"
    make_dfdc_part(root / place, None, dfdc_names(6), 2)
    assert LAYOUT.recognize(root) is not None
    listing = read(root)
    assert len(listing.videos) == 6
    assert {video.group_id for video in listing.videos} == {"dfdc_train_part_7"}
    assert {video.split for video in listing.videos} == {"train"}


def test_links_are_followed_but_not_in_circles(dfdc: Path, tmp_path: Path) -> None:
    whole = read(dfdc)
    (dfdc / "loop").symlink_to(dfdc)
    (dfdc / "again").symlink_to(dfdc / "test")
    (dfdc / "above").symlink_to(tmp_path)
    (dfdc / "dfdc_train_part_1").rename(tmp_path / "elsewhere")
    (dfdc / "dfdc_train_part_1").symlink_to(tmp_path / "elsewhere")
    listing = read(dfdc)
    assert [video.video_id for video in listing.videos] == [video.video_id for video in whole.videos]
    assert (listing.missing, listing.ignored, listing.notes) == ((), (), whole.notes)


def test_the_sample_of_the_train_videos_is_counted_once_next_to_its_part(dfdc: Path) -> None:
    before = read(dfdc)
    make_dfdc_part(dfdc / "train_sample_videos", None, dfdc_names(3), 2)
    (dfdc / "dfdc_train_part_0" / "aaaaaaaaaa.mp4").unlink()
    listing = read(dfdc)
    assert {v.video_id for v in listing.videos} == {v.video_id for v in before.videos}
    assert by_name(listing)["aaaaaaaaaa"].path.parent.name == "train_sample_videos"
    assert listing.ignored == ()
    assert "videos listed more than once and counted once: 3" in listing.notes


@pytest.mark.parametrize("fields", [{"label": "REAL"}, {"split": "test"}])
def test_lists_that_contradict_each_other_are_rejected(dfdc: Path, fields: dict[str, str]) -> None:
    make_dfdc_part(dfdc / "train_sample_videos", None, dfdc_names(3), 2)
    edit_metadata(dfdc / "train_sample_videos", "aaaaaaaaab", **fields)
    with pytest.raises(
        DatasetLayoutError, match="aaaaaaaaab.mp4: is .* but fake, train in .*dfdc_train_part_0"
    ):
        read(dfdc)


def test_parts_are_what_gives_the_tree_away(tmp_path: Path) -> None:
    assert LAYOUT.recognize(make_dfdc(tmp_path)) == "dfdc_train_part_0/, dfdc_train_part_1/"
    root = make_dfdc(tmp_path / "many", num_parts=5)
    assert LAYOUT.recognize(root) == "dfdc_train_part_0/, dfdc_train_part_1/, dfdc_train_part_2/, 2 more"


def test_lists_next_to_videos_of_other_names_are_not_taken_for_dfdc(tmp_path: Path) -> None:
    place_videos(tmp_path, ["a", "b"])
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\n")
    assert LAYOUT.recognize(tmp_path) is None
    assert LAYOUT.recognize(tmp_path / "labels.csv") is None


def test_wanted_methods(dfdc: Path) -> None:
    assert read(dfdc, methods=("fake",)) == read(dfdc)
    with pytest.raises(OptionError, match="methods: 'real' is unknown; must be one of fake"):
        read(dfdc, methods=("real",))


def test_the_videos_of_a_miniature_decode(tmp_path: Path) -> None:
    for video in read(make_dfdc(tmp_path, tiny_clip(tmp_path), num_parts=1, num_listed=1)).videos[:2]:
        assert read_metadata(video.path).num_frames == 3
