"""What holds for every layout: it is recognised, listed, and told from all others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_detect.data.layouts import LAYOUTS, ReadOptions, read_dataset, recognise_layout
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL
from tests.data.layouts import miniatures, miniatures_more

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
    "csv": miniatures.make_csv,
    "folder": miniatures.make_folder,
}


def kind_of(name: str) -> str:
    return name.removesuffix("-mirror")


def test_every_layout_has_a_miniature() -> None:
    assert {kind_of(name) for name in MAKERS} == set(LAYOUTS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_tree_is_known_for_what_it_is(name: str, tmp_path: Path) -> None:
    root = MAKERS[name](tmp_path / "downloaded")
    layout, evidence = recognise_layout(root)
    assert layout.kind == kind_of(name)
    assert evidence
    assert "\n" not in evidence
    _, _, listing = read_dataset(root)
    rows = [*listing.videos, *listing.missing]
    assert len({video.video_id for video in rows}) == len(rows)
    labels = [video.label for video in listing.videos]
    assert set(labels) == {REAL, FAKE}
    assert labels == sorted(labels)  # reals first
    for video in listing.videos:
        assert video.path.exists() or ".tar" in str(video.path)
        assert video.video_id.startswith(f"{video.dataset}/")
        assert video.label == FAKE or video.source_id is None


@pytest.mark.parametrize("name", MAKERS)
def test_a_tree_named_as_another_kind_is_refused_or_says_what_it_reads(name: str, tmp_path: Path) -> None:
    """Whatever --kind says, no tree of another layout turns into rows with wrong labels."""
    root = MAKERS[name](tmp_path / "downloaded")
    _, _, own = read_dataset(root)
    truth = {video.path: video.label for video in own.videos}
    for kind in LAYOUTS:
        try:
            _, _, listing = read_dataset(root, kind=kind)
        except DatasetLayoutError:
            continue
        labels = {video.path: video.label for video in listing.videos}
        assert all(truth.get(path, label) == label for path, label in labels.items()), kind


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=r"has the folders of no known dataset; name .*--kind"):
        recognise_layout(tmp_path)
    with pytest.raises(DatasetLayoutError, match="is not there; pass the folder of a dataset"):
        recognise_layout(tmp_path / "absent")
    with pytest.raises(OptionError, match="kind: 'celeb' is unknown; choose one of: dfd, ffpp"):
        read_dataset(tmp_path, kind="celeb")


def test_the_meaning_of_labels_is_for_a_csv_alone(tmp_path: Path) -> None:
    root = miniatures.make_folder(tmp_path / "x")
    with pytest.raises(OptionError, match="fake_label: is for a CSV"):
        read_dataset(root, options=ReadOptions(fake_label="0"))
