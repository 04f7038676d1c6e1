"""Faults of other tools around data, each beside what is right: these fail where ours has the fault.

Others of the kind stand with what they concern: people beside the manipulated one in
``test_extraction``, frames of a resumed extraction there too, faces beyond a limit in ``faces``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.data.audit import audit_rows
from deepfake_detect.data.crops import crop_fraction
from deepfake_detect.data.index import IndexOrigin, VideoIndex, write_index
from deepfake_detect.data.layouts import read_layout
from deepfake_detect.data.layouts.ffpp import FORGERY_METHODS, official_split_pairs
from deepfake_detect.data.splits import assign_splits
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.evaluation import evaluate_scores
from deepfake_detect.evaluation.evaluate import Coverage, ScoreTable
from deepfake_detect.metrics import roc_auc
from deepfake_detect.records import CropGeometry, DatasetVideo
from deepfake_detect.video import EvenlySpaced, read_frames
from tests.data.layouts.miniatures import make_celebdf_v2
from tests.data.layouts.miniatures_more import make_ffpp
from tests.media import read_number, write_clip

ORIGIN = IndexOrigin(("ffpp",), ("/x",), "official", 0, "")


@pytest.fixture(scope="module")
def ffpp_videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetVideo, ...]:
    """Every video of FaceForensics++ c23, by name."""
    pairs = [(a, b) for _, a, b in official_split_pairs()]
    root = make_ffpp(tmp_path_factory.mktemp("full") / "ffpp", pairs=pairs)
    return read_layout(root)[2].videos


def index_of(folder: Path, videos: tuple[DatasetVideo, ...]) -> VideoIndex:
    return write_index(folder / "videos.parquet", videos, origin=ORIGIN)


def test_four_methods_of_one_name_stay_four_videos(ffpp_videos: tuple[DatasetVideo, ...]) -> None:
    """The identity of a video from its folder's name: 840 test videos become 280, and the AUC wrong."""
    videos = [video for video in ffpp_videos if video.split == "test"]
    assert len(videos) == 140 + 5 * 140
    rng = np.random.default_rng(0)
    hardness = {method: 0.8 * number for number, method in enumerate(FORGERY_METHODS[:5])}
    logits = np.array([rng.normal(hardness.get(video.method, 0.0)) for video in videos])
    probabilities = 1 / (1 + np.exp(-logits))
    labels = np.array([video.label for video in videos])

    def auc_by(names: list[str]) -> tuple[int, float]:
        groups = {name: [n for n, other in enumerate(names) if other == name] for name in set(names)}
        means = [(labels[rows].max(), probabilities[rows].mean()) for rows in groups.values()]
        return len(groups), roc_auc(np.array([m[0] for m in means]), np.array([m[1] for m in means]))

    num_merged, wrong = auc_by([video.path.stem for video in videos])
    num_videos, right = auc_by([video.video_id for video in videos])
    assert (num_merged, num_videos) == (280, 840)
    assert abs(wrong - right) > 0.02
    table = ScoreTable(
        video_id=np.array([video.video_id for video in videos], dtype=object),
        method=np.array([video.method for video in videos], dtype=object),
        label=labels,
        track_id=np.zeros(len(videos), int),
        frame_index=np.zeros(len(videos), int),
        fake_probability=probabilities,
    )
    found = evaluate_scores(
        table, Coverage(840, 840, 0, 0, ()), threshold=0.5, aggregation_rule="mean", num_resamples=10
    )
    assert found.video.metrics["auc"].value == pytest.approx(right)


def test_evenly_spaced_frames_are_no_first_ones_and_hold_the_last(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=100)
    numbers = [read_number(frame.image) for frame in read_frames(clip, sampling=EvenlySpaced(10))]
    assert numbers == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]


def test_a_split_by_target_alone_leaks(tmp_path: Path, ffpp_videos: tuple[DatasetVideo, ...]) -> None:
    """As many tools split: by the name before the underscore. Most test fakes then show known faces."""
    from dataclasses import replace

    rng = np.random.default_rng(0)
    lots = {
        f"{number:03d}": str(lot)
        for number, lot in enumerate(rng.choice(["train", "test"], 1000, p=[0.72, 0.28]))
    }
    faulty = tuple(replace(video, split=lots[str(video.target_id)]) for video in ffpp_videos)
    test_fakes = [video for video in faulty if video.split == "test" and video.label]
    seen = sum(lots[str(video.source_id)] == "train" for video in test_fakes) / len(test_fakes)
    assert seen > 0.6
    leaks = audit_rows(index_of(tmp_path, faulty)).leaks
    assert [(leak.kind, leak.first, leak.second) for leak in leaks] == [("identities", "train", "test")]
    divided = assign_splits(ffpp_videos, split="identity")
    assert audit_rows(index_of(tmp_path, divided.videos)).leaks == ()
    assert Counter(video.split for video in divided.videos) == {"train": 4320, "val": 840, "test": 840}


def test_the_official_split_leaks_nothing(tmp_path: Path, ffpp_videos: tuple[DatasetVideo, ...]) -> None:
    report = audit_rows(index_of(tmp_path, ffpp_videos))
    assert report.leaks == ()
    assert report.num_videos == 6000


def test_the_first_line_of_a_list_counts_and_one_means_real_there(tmp_path: Path) -> None:
    root = make_celebdf_v2(tmp_path / "Celeb-DF-v2", is_full=True)
    lines = (root / "List_of_testing_videos.txt").read_text().splitlines()
    listing = read_layout(root)[2]
    test = {f"{v.path.parent.name}/{v.path.name}": v.label for v in listing.videos if v.split == "test"}
    assert len(lines) == len(test) == 518
    assert lines[0].split()[1] in test
    for line in lines:
        word, name = line.split()
        assert test[name] == (0 if word == "1" else 1)
    inverted = [f"{1 - int(line[0])}{line[1:]}" for line in lines]
    (root / "List_of_testing_videos.txt").write_text("\n".join(inverted))
    with pytest.raises(DatasetLayoutError, match="List_of_testing_videos.txt"):
        read_layout(root)


def test_a_misspelled_folder_is_no_silent_class(tmp_path: Path) -> None:
    root = make_celebdf_v2(tmp_path / "Celeb-DF-v2")
    (root / "YouTube-real").rename(root / "Youtube-real")
    with pytest.raises(DatasetLayoutError, match="Youtube-real: is not a folder.*rename it to YouTube-real"):
        read_layout(root)


def test_crops_of_another_margin_or_alignment_are_rejected() -> None:
    for stored in (CropGeometry(1.0), CropGeometry(1.3, aligned=True)):
        with pytest.raises(OptionError, match="crop geometry: the crops were cut with"):
            crop_fraction(stored, CropGeometry(1.3))
