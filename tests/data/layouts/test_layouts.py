"""Every layout is recognized, listed, and distinguished from all others."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_detect.data.index import IndexOrigin, write_index
from deepfake_detect.data.layouts import LAYOUTS, Selection, VideoListing, read_layout, recognize_layout
from deepfake_detect.data.layouts.base import drop_non_utf8
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL
from tests.data.layouts import miniatures, miniatures_forms, miniatures_more

# What a name in another encoding than UTF-8 looks like in Python; other systems take no such names.
NO_UTF8 = os.fsdecode(b"caf\xe9")
needs_any_name = pytest.mark.skipif(sys.platform != "linux", reason="no such file names")

MAKERS: dict[str, Callable[[Path], Path]] = {
    "ffpp": miniatures_more.make_ffpp,
    "ffpp-mirror": miniatures_more.make_ffpp_mirror,
    "dfd": miniatures_more.make_dfd,
    "dfd-mirror": miniatures_more.make_dfd_mirror,
    "celebdf-v2": miniatures.make_celebdf_v2,
    "celebdf-v1": miniatures.make_celebdf_v1,
    "celebdf-pp": miniatures.make_celebdf_pp,
    "dfdc": miniatures.make_dfdc,
    "dfdcp": miniatures.make_dfdcp,
    "deeperforensics": miniatures_more.make_deeperforensics,
    "ffiw": miniatures_more.make_ffiw,
    "wilddeepfake": miniatures_more.make_wilddeepfake,
    "df40": miniatures_more.make_df40,
    "uadfv": miniatures.make_uadfv,
    "deepfakebench": miniatures_forms.make_deepfakebench,
    "deepfakebench-tree": miniatures_forms.make_deepfakebench_tree,
    "fakeavceleb": miniatures_forms.make_fakeavceleb,
    "lavdf": miniatures_forms.make_lavdf,
    "avdeepfake1m": miniatures_forms.make_avdeepfake1m,
    "deepfakeeval2024": miniatures_forms.make_deepfakeeval,
    "openforensics": miniatures_forms.make_openforensics,
    "forgerynet": miniatures_forms.make_forgerynet,
    "kaggle140k": miniatures_forms.make_kaggle140k,
    "kaggle-images": miniatures_forms.make_kaggle_images,
    "cnndetection": miniatures_forms.make_cnndetection,
    "kodf": miniatures_forms.make_kodf,
    "dfplatter": miniatures_forms.make_dfplatter,
    "deepfaketimit": miniatures_forms.make_deepfaketimit,
    "dfdm": miniatures_forms.make_dfdm,
    "csv": miniatures.make_csv,
    "folder": miniatures.make_folder,
}


COPIED = (".mp4", ".avi", ".png", ".jpg", ".gz")
# Their lists name what is read; nothing else is listed.
LISTED = ("csv", "deepfakebench", "deepfakebench-tree", "deepfakeeval2024", "openforensics", "forgerynet")
# Datasets whose reals are those of another one.
ONLY_FAKES = ("deepfaketimit", "dfdm")


def kind_of(name: str) -> str:
    return name.removesuffix("-mirror").removesuffix("-tree")


def test_every_layout_has_a_miniature() -> None:
    assert {kind_of(name) for name in MAKERS} == set(LAYOUTS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_tree_is_known_for_what_it_is(name: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "downloaded")
    layout, evidence = recognize_layout(root)
    assert layout.name == kind_of(name)
    assert evidence
    assert "\n" not in evidence
    _, _, listing = read_layout(root)
    rows = [*listing.videos, *listing.missing]
    assert len({video.video_id for video in rows}) == len(rows)
    labels = [video.label for video in listing.videos]
    assert set(labels) == ({FAKE} if name in ONLY_FAKES else {REAL, FAKE})
    assert labels == sorted(labels)  # reals first
    for video in listing.videos:
        assert video.path.exists() or ".tar" in str(video.path)
        assert video.video_id.startswith(f"{video.dataset}/")
        assert video.label == FAKE or video.source_id is None


@pytest.mark.parametrize("name", MAKERS)
def test_a_tree_named_as_another_kind_is_rejected_or_says_what_it_reads(name: str, tmp_path: Path) -> None:
    """Whatever --kind says, no tree of another layout turns into rows with wrong labels."""
    root = MAKERS[name](tmp_path / "downloaded")
    _, _, own = read_layout(root)
    truth = {video.path: video.label for video in own.videos}
    for kind in LAYOUTS:
        try:
            _, _, listing = read_layout(root, dataset=kind)
        except DatasetLayoutError:
            continue
        labels = {video.path: video.label for video in listing.videos}
        assert all(truth.get(path, label) == label for path, label in labels.items()), kind


def test_what_is_no_dataset_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetLayoutError,
        match=r"does not have the folders of a known dataset; set `dataset` to its layout",
    ):
        recognize_layout(tmp_path)
    with pytest.raises(DatasetLayoutError, match="does not exist; pass the folder of a dataset"):
        recognize_layout(tmp_path / "absent")
    with pytest.raises(OptionError, match="dataset: 'celeb' is unknown; must be one of deepfakebench, dfd"):
        read_layout(tmp_path, dataset="celeb")


def test_the_meaning_of_labels_is_for_a_csv_only(tmp_path: Path) -> None:
    root = miniatures.make_folder(tmp_path / "x")
    with pytest.raises(OptionError, match="fake_label: applies only to CSV files"):
        read_layout(root, selection=Selection(fake_label="0"))


def assert_writable(listing: VideoListing, path: Path) -> None:
    """Check that everything in a listing can be written to a table and printed."""
    origin = IndexOrigin(kinds=(), roots=(), split_policy="auto", split_seed=0, splits_sha256="")
    assert write_index(path, [*listing.videos, *listing.missing], origin=origin).num_rows
    for words in (*map(str, listing.ignored), *listing.notes):
        assert words.encode()


@needs_any_name
@pytest.mark.parametrize("name", MAKERS)
def test_names_that_are_no_utf8_are_left_out_and_counted(name: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "downloaded")
    top = root if root.is_dir() else root.parent
    whole = read_layout(root)[2]
    # One more of what a folder holds in each, and a folder with a video at the top.
    for path in {path.parent: path for path in top.rglob("*") if path.suffix in COPIED}.values():
        shutil.copy(path, path.with_name(NO_UTF8 + "".join(path.suffixes)))
    miniatures.place_video(top / NO_UTF8 / "a.mp4")
    _, evidence, listing = read_layout(root)
    assert evidence.encode()
    assert_writable(listing, tmp_path / "videos.parquet")
    assert listing.videos == whole.videos
    assert listing.missing == whole.missing
    notes = [note for note in listing.notes if note.startswith("left out because their names are not UTF-8")]
    assert len(notes) == (0 if name in LISTED else 1)


@needs_any_name
def test_the_note_shows_how_many_and_which(tmp_path: Path) -> None:
    root = miniatures.make_folder(tmp_path)
    bad = miniatures.place_videos(root / "fake" / "day1", [NO_UTF8, f"{NO_UTF8}-2"])
    listing = read_layout(root)[2]
    where = str(bad[0].with_name("caf"))
    assert listing.notes[
        -1
    ] == f"left out because their names are not UTF-8: 2, such as {where}-2.mp4".replace(
        "caf-2", "caf\\udce9-2"
    )
    # Where the root itself has such a name, no video can be written down.
    root.rename(tmp_path / NO_UTF8)
    with pytest.raises(DatasetLayoutError, match="is not UTF-8, like the paths of all 10 videos; rename"):
        read_layout(tmp_path / NO_UTF8)


def test_absent_videos_whose_names_are_no_text_are_left_out_too(tmp_path: Path) -> None:
    whole = read_layout(miniatures.make_folder(tmp_path))[2]
    gone = replace(whole.videos[0], video_id="\ud800", path=tmp_path / "\ud800.mp4")
    listing = drop_non_utf8(replace(whole, missing=(gone,)))
    assert (listing.videos, listing.missing) == (whole.videos, ())
    assert listing.notes[-1].endswith(": 1, such as " + str(tmp_path / "\\ud800.mp4"))
