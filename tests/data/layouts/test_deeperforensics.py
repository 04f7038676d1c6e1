from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import Selection
from deepfake_detect.data.layouts.deeperforensics import LAYOUT, VERSIONS
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.video import read_metadata
from tests.data.layouts.miniatures_more import make_deeperforensics, place_video
from tests.media import write_clip

ALL = Selection()
SIZES = (703, 96, 201)


@pytest.fixture(scope="module")
def full_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 11,000 swaps, their actors parted 71/9/20, and a few recordings of each actor."""
    actors = [f"{'MW'[n % 2]}{n:03d}" for n in range(100)]
    parts = (actors[:71], actors[71:80], actors[80:])
    sources = [part[n % len(part)] for part, size in zip(parts, SIZES, strict=True) for n in range(size)]
    swaps = [f"{n:03d}_{actor}" for n, actor in enumerate(sources)]
    root = tmp_path_factory.mktemp("full")
    return make_deeperforensics(root, swaps=swaps, sizes=SIZES, num_recordings=300, num_extra=100)


def test_the_full_tree_has_the_published_counts(full_tree: Path) -> None:
    listing = LAYOUT.read(full_tree, ALL)
    assert listing.counts() == {
        "source_videos": (300, 48475),
        **dict.fromkeys(VERSIONS, (1000, 1000)),
        "source_videos_extra": (100, None),
    }
    assert len(VERSIONS) == 11
    assert not listing.missing
    assert not listing.ignored
    splits = Counter((video.method, video.split) for video in listing.videos)
    for version in VERSIONS:
        assert [splits[version, split] for split in ("train", "val", "test")] == list(SIZES)
    assert len({video.video_id for video in listing.videos}) == len(listing.videos)


def test_suffixes_may_be_in_any_case(tmp_path: Path) -> None:
    make_deeperforensics(tmp_path, num_recordings=1, num_extra=0)
    swap = tmp_path / "manipulated_videos" / "end_to_end" / "000_W101.mp4"
    (recording,) = (tmp_path / "source_videos").rglob("*.mp4")
    for path in (swap, recording):
        path.rename(path.with_suffix(".MP4"))
    listing = LAYOUT.read(tmp_path, Selection(methods=("end_to_end",)))
    assert (listing.counts()["source_videos"], listing.counts()["end_to_end"]) == ((1, 48475), (3, 1000))
    assert (listing.missing, listing.ignored) == ((), ())


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make_deeperforensics(tmp_path)
    whole = LAYOUT.read(tmp_path, ALL)
    (tmp_path / "source_videos" / "loop").symlink_to(tmp_path / "source_videos")
    dead = tmp_path / "source_videos" / "W101_x.mp4"
    dead.symlink_to(tmp_path / "absent")
    listing = LAYOUT.read(tmp_path, ALL)
    assert listing.videos == whole.videos
    assert listing.ignored == (dead,)


def test_labels_and_identities(full_tree: Path) -> None:
    for video in LAYOUT.read(full_tree, ALL).videos:
        is_real = video.method.startswith("source_videos")
        assert video.label == (0 if is_real else 1)
        if is_real:
            assert (video.target_id, video.source_id) == (video.path.stem.partition("_")[0], None)
        else:
            assert f"{video.target_id}_{video.source_id}" == f"FaceForensics++:{video.path.stem}"


def test_no_actor_is_in_two_splits(full_tree: Path) -> None:
    splits_of: dict[str | None, set[str | None]] = {}
    for video in LAYOUT.read(full_tree, ALL).videos:
        splits_of.setdefault(video.source_id or video.target_id, set()).add(video.split)
    assert len(splits_of) == 100
    assert all(len(splits) == 1 for splits in splits_of.values())


def test_a_partial_copy_is_listed_and_counted(tmp_path: Path) -> None:
    make_deeperforensics(tmp_path)
    (tmp_path / "manipulated_videos" / "end_to_end" / "000_W101.mp4").unlink()
    unlisted = place_video(tmp_path / "manipulated_videos" / "end_to_end" / "003_W101.mp4", None)
    stray = place_video(tmp_path / "manipulated_videos" / "end_to_end" / "copy.mp4", None)
    listing = LAYOUT.read(tmp_path, Selection(methods=("end_to_end",)))
    assert listing.counts()["end_to_end"] == (3, 1000)
    assert listing.counts().keys() == {"source_videos", "source_videos_extra", "end_to_end"}
    assert [video.video_id for video in listing.missing] == ["DeeperForensics-1.0/end_to_end/000_W101"]
    assert {video.path: video.split for video in listing.videos}[unlisted] is None
    assert listing.ignored == (stray,)


def test_without_lists_nothing_has_a_split(tmp_path: Path) -> None:
    make_deeperforensics(tmp_path)
    for path in (tmp_path / "lists" / "splits").iterdir():
        path.unlink()
    listing = LAYOUT.read(tmp_path, ALL)
    assert {video.split for video in listing.videos} == {None}
    assert listing.missing == ()
    assert "no official split" in listing.notes[1]


def test_lists_may_name_absent_videos(tmp_path: Path) -> None:
    make_deeperforensics(tmp_path)
    with open(tmp_path / "lists" / "splits" / "test.txt", "a") as file:
        file.write("999_W101.mp4\n")
    listing = LAYOUT.read(tmp_path, ALL)
    assert {video.path.stem for video in listing.missing} == {"999_W101"}
    assert len(listing.missing) == 11
    # Now W101 has swaps in train and in test: its recordings can be in neither.
    assert {v.split for v in listing.videos if v.label == 0 and v.target_id == "W101"} == {None}
    assert "the swaps of 1 actors, such as W101, into several splits" in listing.notes[1]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("000 W101.mp4", "contains '000' instead of a name"),
        ("000_W101.mp4", "names 000_W101, as train.txt does"),
    ],
)
def test_damaged_lists_are_rejected(tmp_path: Path, line: str, cause: str) -> None:
    make_deeperforensics(tmp_path)
    (tmp_path / "lists" / "splits" / "val.txt").write_text(f"{line}\n")
    with pytest.raises(DatasetLayoutError, match=f"val.txt: {cause}"):
        LAYOUT.read(tmp_path, ALL)


def test_what_is_no_recording_is_ignored(tmp_path: Path) -> None:
    make_deeperforensics(tmp_path)
    recording = next((tmp_path / "source_videos").rglob("W101_light*.mp4"))
    again = place_video(tmp_path / "source_videos" / "copy" / recording.name, None)
    other = place_video(tmp_path / "source_videos" / "W101" / "notes.mp4", None)
    listing = LAYOUT.read(tmp_path, ALL)
    assert set(listing.ignored) == {again, other}
    assert len({video.video_id for video in listing.videos}) == len(listing.videos)


@pytest.mark.parametrize(
    ("right", "misspelled"),
    [
        ("manipulated_videos", "manipulated_video"),
        ("source_videos", "source_video"),
        ("manipulated_videos/end_to_end", "manipulated_videos/end_to_ent"),
        ("lists/splits", "lists/split"),
    ],
)
def test_a_misspelled_folder_is_an_error_that_names_the_right_one(
    tmp_path: Path, right: str, misspelled: str
) -> None:
    make_deeperforensics(tmp_path)
    (tmp_path / right).rename(tmp_path / misspelled)
    assert LAYOUT.recognize(tmp_path) is not None
    with pytest.raises(DatasetLayoutError, match=f"rename it to {Path(right).name}$"):
        LAYOUT.read(tmp_path, ALL)


def test_other_trees_and_options_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    assert LAYOUT.recognize(tmp_path) is None
    with pytest.raises(DatasetLayoutError, match="contains neither source_videos nor manipulated_videos"):
        LAYOUT.read(tmp_path, ALL)
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        LAYOUT.read(tmp_path / "absent", ALL)
    (tmp_path / "manipulated_videos").mkdir()
    with pytest.raises(DatasetLayoutError, match="contains no video of DeeperForensics"):
        LAYOUT.read(tmp_path, ALL)
    with pytest.raises(OptionError, match="methods: 'FaceSwap' is unknown; must be one of end_to_end"):
        LAYOUT.read(tmp_path, Selection(methods=("FaceSwap",)))
    with pytest.raises(OptionError, match="compression: DeeperForensics-1.0 has none to choose from"):
        LAYOUT.read(tmp_path, Selection(compressions=("c23",)))


def test_the_clips_of_a_miniature_decode(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=4)
    root = make_deeperforensics(tmp_path / "tree", clip)
    assert "manipulated_videos" in str(LAYOUT.recognize(root))
    videos = LAYOUT.read(root, ALL).videos
    for video in (videos[0], videos[-1]):
        assert read_metadata(video.path).num_frames == 4
