"""Splits made of connected groups of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.data.identities import identity_key
from deepfake_detect.data.splits import SPLITS, assign_splits, splits_sha256
from deepfake_detect.errors import OptionError
from deepfake_detect.records import DatasetVideo


def video(
    name: str,
    *,
    target: str | None = None,
    source: str | None = None,
    split: str | None = None,
    dataset: str = "made",
    group: str | None = None,
) -> DatasetVideo:
    return DatasetVideo(
        dataset=dataset,
        video_id=f"{dataset}/{name}",
        method="swap" if source else "original",
        label=int(source is not None),
        split=split,
        compression=None,
        target_id=target,
        source_id=source,
        path=Path(f"{name}.mp4"),
        group_id=group,
    )


def swaps(num_people: int, seed: int = 0) -> list[DatasetVideo]:
    """Each person filmed once, and swapped with the next person of a group of up to four."""
    rng = np.random.default_rng(seed)
    clips = [video(f"p{n}", target=f"p{n}") for n in range(num_people)]
    start = 0
    while start < num_people:
        stop = min(num_people, start + int(rng.integers(1, 5)))
        clips += [video(f"p{n}_p{n + 1}", target=f"p{n}", source=f"p{n + 1}") for n in range(start, stop - 1)]
        start = stop
    return clips


def people(videos: Sequence[DatasetVideo], split: str) -> set[str]:
    names = [(v.target_id, v.source_id) for v in videos if v.split == split]
    return {name for pair in names for name in pair if name}


def test_no_person_is_in_two_splits() -> None:
    clips = swaps(300)
    result = assign_splits(clips, split_seed=1)
    for one, other in combinations(SPLITS, 2):
        assert not people(result.videos, one) & people(result.videos, other)
    counts = Counter((v.split, v.label) for v in result.videos)
    for label in (0, 1):
        total = sum(counts[split, label] for split in SPLITS)
        assert [counts[s, label] / total for s in SPLITS] == pytest.approx([0.72, 0.14, 0.14], abs=0.02)
    assert [v.video_id for v in result.videos] == [v.video_id for v in clips]


def test_split_by_target_alone_would_leak() -> None:
    """What other tools do: every target in one split, its source wherever it falls."""
    clips = swaps(300)
    lots = {f"p{n}": SPLITS[n % 3] for n in range(300)}
    train = {v.target_id for v in clips if v.target_id and lots[v.target_id] == "train"}
    test_sources = {v.source_id for v in clips if v.source_id and v.target_id and lots[v.target_id] == "test"}
    assert test_sources & train


def test_the_division_follows_the_seed_and_has_a_hash() -> None:
    clips = swaps(100)
    one, same, other = (assign_splits(clips, split_seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.sha256 != other.sha256
    turned = assign_splits(clips[::-1], split_seed=1)
    assert splits_sha256(turned.videos[::-1]) == turned.sha256


def test_official_splits_stay_and_what_touches_them_gets_none() -> None:
    clips = [
        video("listed", target="a", split="test"),
        video("same person", target="a"),
        video("swapped with them", target="b", source="a"),
        *(video(f"free{n}", target=f"f{n}", source=f"s{n}" if n % 2 else None) for n in range(50)),
    ]
    result = assign_splits(clips)
    assert [v.split for v in result.videos[:3]] == ["test", None, None]
    # Nothing is added to the test split that the owners made.
    assert Counter(v.split for v in result.videos[3:]) == {"train": 42, "val": 8}
    assert "made: no split for 2 videos sharing a person with an official split" in result.notes[0]
    assert [v.split for v in assign_splits(clips, split="official").videos] == ["test"] + [None] * 52
    anew = assign_splits(clips, split="identity").videos
    assert len({v.split for v in anew[:3]}) == 1
    assert None not in {v.split for v in anew}


def test_what_would_lack_a_class_next_to_official_splits_is_left_out() -> None:
    clips = [video("listed", target="a", split="test"), *(video(f"r{n}", target=f"r{n}") for n in range(50))]
    result = assign_splits(clips)
    assert Counter(v.split for v in result.videos) == {"test": 1, None: 50}
    assert (
        "without an official split get none: divided, train has no fake, val has no fake" in result.notes[0]
    )


def test_a_division_that_lacks_a_class_is_noted() -> None:
    clips = [video(f"r{n}", target=f"r{n}") for n in range(50)] + [video("f", target="x", source="y")]
    (note,) = assign_splits(clips).notes
    assert note.startswith("made: 51 videos divided here, by 51 groups of people; val has no fake")


def test_people_of_two_datasets_are_divided_together() -> None:
    clips = [
        video(f"id{n}", target=f"id{n}", source=f"id{n + 1}" if n % 3 else None, dataset=dataset)
        for dataset, first in (("Celeb-DF-v1", 0), ("Celeb-DF-v2", 30))
        for n in range(first, first + 60)
    ]
    result = assign_splits(clips, split="identity")
    keys: dict[str, set[str | None]] = {}
    for one in result.videos:
        for name in (one.target_id, one.source_id):
            if name:
                keys.setdefault(identity_key(one.dataset, name), set()).add(one.split)
    assert all(len(splits) == 1 for splits in keys.values())
    assert {v.split for v in result.videos} == set(SPLITS)


def test_the_division_does_not_hang_on_the_order_of_the_videos() -> None:
    clips = swaps(150)
    turned = assign_splits(clips[::-1], split_seed=5).videos[::-1]
    assert assign_splits(clips, split_seed=5).videos == turned


def test_one_connected_group_is_left_undivided() -> None:
    clips = [video(f"c{n}", target=f"p{n}", source=f"p{n + 1}") for n in range(20)]
    result = assign_splits(clips)
    assert {v.split for v in result.videos} == {None}
    assert result.notes == (
        "made: 20 videos form 1 connected group of people, which cannot be divided: they get no split",
    )


def test_a_person_of_another_dataset_is_the_same_person() -> None:
    assert identity_key("DF40", "FaceForensics++:000") == identity_key("FaceForensics++", "000")
    assert identity_key("Celeb-DF-v1", "id3") == identity_key("Celeb-DF++", "id3")
    assert identity_key("DFDC", "000") != identity_key("FaceForensics++", "000")


def test_val_is_set_apart_by_whole_groups() -> None:
    clips = [
        video(f"part{part}/{n}", target=f"{part}-{n}", split="train", group=f"part{part}")
        for part in range(20)
        for n in range(10)
    ]
    result = assign_splits(clips, val_fraction=0.2, split_seed=4)
    splits_of_part: dict[str | None, set[str | None]] = {}
    for one in result.videos:
        splits_of_part.setdefault(one.group_id, set()).add(one.split)
    assert all(len(splits) == 1 for splits in splits_of_part.values())
    assert Counter(v.split for v in result.videos) == {"train": 160, "val": 40}
    assert result.notes == ("made: 40 of 200 train videos set apart as val",)


def test_one_part_alone_is_divided_by_original_and_is_noted() -> None:
    clips = [
        video(f"{n}-{take}", target=str(n), split="train", group="part0")
        for n in range(50)
        for take in range(2)
    ]
    result = assign_splits(clips, val_fraction=0.1)
    assert Counter(v.split for v in result.videos) == {"train": 90, "val": 10}
    assert not people(result.videos, "train") & people(result.videos, "val")
    assert "all of one part (part0), so divided by original video" in result.notes[1]


def test_options_outside_what_is_allowed() -> None:
    clips = swaps(20)
    with pytest.raises(OptionError, match="split: is 'random'; must be one of auto, official, identity"):
        assign_splits(clips, split="random")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"split_fractions: is 0.5 0.4 0.2; must be three"):
        assign_splits(clips, split_fractions=(0.5, 0.4, 0.2))
    with pytest.raises(OptionError, match=r"split_fractions: is nan"):
        assign_splits(clips, split_fractions=(float("nan"),) * 3)
    with pytest.raises(OptionError, match="split_seed: is -1; must be 0 or more"):
        assign_splits(clips, split_seed=-1)
    with pytest.raises(OptionError, match="val_fraction: is 0.7"):
        assign_splits(clips, val_fraction=0.7)
    with pytest.raises(OptionError, match="made has a val split already"):
        assign_splits([video("a", split="train"), video("b", split="val")], val_fraction=0.1)
    with pytest.raises(OptionError, match="2 train videos of made form one connected group"):
        assign_splits([video(n, target="x", split="train") for n in "ab"], val_fraction=0.1)


def test_a_split_of_no_share_stays_empty() -> None:
    result = assign_splits(swaps(101), split_fractions=(0.9, 0.1, 0.0))
    assert {v.split for v in result.videos} == {"train", "val"}
