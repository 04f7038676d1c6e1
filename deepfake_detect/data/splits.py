"""Splits that cannot leak: official ones kept, others made of whole groups of connected people.

A forgery shows its target and its source. Videos that share a person, directly or over other
videos, form one connected group (component), and a group is never divided.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_detect.data.identities import identity_key
from deepfake_detect.errors import OptionError
from deepfake_detect.records import DatasetVideo

SPLITS = ("train", "val", "test")
SplitPolicy = Literal["auto", "official", "identity"]
SPLIT_POLICIES: tuple[SplitPolicy, ...] = ("auto", "official", "identity")
# Shares of train, val and test, as FaceForensics++ divides its videos.
DEFAULT_SHARES = (0.72, 0.14, 0.14)
# A group fits when no class overflows by more than half a video: shares are rarely whole numbers.
_ROUNDING = 0.5 + 1e-6


@dataclass(frozen=True)
class SplitAssignment:
    """Videos with their splits.

    Attributes:
        videos: In the order given; ``split`` is ``None`` where none could be given.
        notes: One line each on what was decided.
        sha256: Hash of every video's split.
    """

    videos: tuple[DatasetVideo, ...]
    notes: tuple[str, ...]
    sha256: str


def assign_splits(
    videos: Sequence[DatasetVideo],
    *,
    policy: SplitPolicy = "auto",
    shares: Sequence[float] = DEFAULT_SHARES,
    val_fraction: float = 0.0,
    seed: int = 0,
) -> SplitAssignment:
    """Give every video a split.

    Args:
        videos: Of one or several datasets, with their official splits.
        policy: ``"official"`` keeps what the owners say. ``"auto"`` also divides the videos of which
            the owners say nothing, dataset by dataset, except those that share a person with
            an official split: they stay without one. ``"identity"`` divides all videos anew.
        shares: Of train, val and test among videos divided here; they add up to 1.
        val_fraction: Share of an official train split to set apart as val, for datasets whose
            owners made no val; 0 to 0.5.
        seed: Of the division.

    Returns:
        The videos with splits, notes and the hash.

    Raises:
        OptionError: A value outside what is allowed, or ``val_fraction`` for a dataset with a val.

    Example:
        >>> from pathlib import Path
        >>> clips = [
        ...     DatasetVideo("made", f"made/{n}", "m", 0, None, None, str(n), None, Path(f"{n}.mp4"))
        ...     for n in range(100)
        ... ]
        >>> splits = [video.split for video in assign_splits(clips).videos]
        >>> [splits.count(name) for name in SPLITS]
        [72, 14, 14]
    """
    _check_options(policy, shares, val_fraction)
    result = [replace(video, split=None) if policy == "identity" else video for video in videos]
    notes: list[str] = []
    for dataset in sorted({video.dataset for video in videos}):
        positions = [number for number, video in enumerate(result) if video.dataset == dataset]
        if policy != "official":
            notes += _divide_unsplit(result, positions, shares, seed)
        if val_fraction:
            notes += _set_val_apart(result, positions, val_fraction, seed)
    return SplitAssignment(tuple(result), tuple(notes), splits_sha256(result))


def splits_sha256(videos: Sequence[DatasetVideo]) -> str:
    """Return a hash of every video's split, the same in whatever order the videos come."""
    lines = sorted(f"{video.video_id}\t{video.split or ''}" for video in videos)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _check_options(policy: str, shares: Sequence[float], val_fraction: float) -> None:
    if policy not in SPLIT_POLICIES:
        raise OptionError("split", f"{policy!r} is unknown", f"choose {', '.join(SPLIT_POLICIES)}")
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise OptionError(
            "shares", f"are {tuple(shares)}", "pass three numbers from 0 that add up to 1, such as .8 .1 .1"
        )
    if not 0 <= val_fraction <= 0.5:
        raise OptionError("val_fraction", f"is {val_fraction}", "pass 0 to 0.5")


def _divide_unsplit(
    videos: list[DatasetVideo], positions: list[int], shares: Sequence[float], seed: int
) -> list[str]:
    """Divide those videos of a dataset that have no split, in place; return notes."""
    components = _components([videos[position] for position in positions])
    official = {c for c, position in zip(components, positions, strict=True) if videos[position].split}
    unsplit = [
        (c, position) for c, position in zip(components, positions, strict=True) if not videos[position].split
    ]
    free = [(c, position) for c, position in unsplit if c not in official]
    notes = []
    dataset = videos[positions[0]].dataset
    if len(free) < len(unsplit):
        notes.append(
            f"{dataset}: {len(unsplit) - len(free):,} videos share a person with an official split "
            "and get none (--split identity divides all videos anew)"
        )
    groups = Counter(c for c, _ in free)
    if free and len(groups) < sum(share > 0 for share in shares):
        return [
            *notes,
            f"{dataset}: {len(free):,} videos form {len(groups)} connected "
            f"group{'s' * (len(groups) > 1)} of people, which cannot be divided: they get no split",
        ]
    chosen = _choose_splits([c for c, _ in free], [videos[p].label for _, p in free], shares, seed)
    for component, position in free:
        videos[position] = replace(videos[position], split=SPLITS[chosen[component]])
    if free:
        notes.append(f"{dataset}: {len(free):,} videos divided here, by {len(groups):,} groups of people")
        notes += _lone_group_note([videos[position] for _, position in free])
    return notes


def _set_val_apart(videos: list[DatasetVideo], positions: list[int], fraction: float, seed: int) -> list[str]:
    """Move whole groups of a dataset's train videos to val, in place; return notes."""
    dataset = videos[positions[0]].dataset
    if any(videos[position].split == "val" for position in positions):
        raise OptionError("val_fraction", f"{dataset} has a val split already", "leave it out")
    training = [position for position in positions if videos[position].split == "train"]
    if not training:
        return []
    components = _components([videos[position] for position in training])
    if len(set(components)) < 2:
        raise OptionError(
            "val_fraction",
            f"all {len(training):,} train videos of {dataset} form one connected group of people",
            "leave it out: no val can be set apart without sharing people",
        )
    labels = [videos[position].label for position in training]
    chosen = _choose_splits(components, labels, (1 - fraction, fraction), seed)
    for component, position in zip(components, training, strict=True):
        videos[position] = replace(videos[position], split=SPLITS[chosen[component]])
    moved = sum(videos[position].split == "val" for position in training)
    return [
        f"{dataset}: {moved:,} of {len(training):,} train videos set apart as val",
        *_lone_group_note([videos[position] for position in training]),
    ]


def _lone_group_note(videos: Sequence[DatasetVideo]) -> list[str]:
    groups = {video.group_id for video in videos}
    if len(groups) != 1 or None in groups:
        return []
    return [
        f"{videos[0].dataset}: all of one part ({groups.pop()}), so divided by original video; "
        "people who appear in several originals may be on both sides"
    ]


def _components(videos: Sequence[DatasetVideo]) -> list[int]:
    """Return the number of each video's connected group.

    Where all videos are of one ``group_id``, it binds nothing: people alone do.
    """
    nodes: dict[str, int] = {}
    rows, columns = [], []
    has_groups = len({video.group_id for video in videos}) > 1
    for row, video in enumerate(videos):
        bonds = [identity_key(video.dataset, name) for name in (video.target_id, video.source_id) if name]
        if video.group_id and has_groups:
            bonds.append(f"group/{video.dataset}/{video.group_id}")
        for bond in bonds:
            rows.append(row)
            columns.append(len(videos) + nodes.setdefault(bond, len(nodes)))
    size = len(videos) + len(nodes)
    edges = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    numbers: list[int] = connected_components(edges, directed=False)[1][: len(videos)].tolist()
    return numbers


def _choose_splits(
    components: Sequence[int], labels: Sequence[int], shares: Sequence[float], seed: int
) -> dict[int, int]:
    """Return component -> position in ``shares``, so that each class is divided by the shares.

    The largest groups are placed first, groups of one size in an order drawn by lot. Each goes
    to the split that is emptiest by its share among those it fits into; one that fits nowhere
    goes where most is missing.
    """
    sizes: dict[int, np.ndarray] = {}
    for component, label in zip(components, labels, strict=True):
        sizes.setdefault(component, np.zeros(2))[label] += 1
    lots = np.random.default_rng(seed).permutation(len(sizes))
    order = sorted(zip(sizes, lots, strict=True), key=lambda one: (-sizes[one[0]].sum(), one[1]))
    totals = sum(sizes.values(), np.zeros(2))
    wanted = np.outer(shares, totals)  # (splits, classes)
    missing = wanted.copy()
    chosen = {}
    for component, _ in order:
        size = sizes[component]
        fits = ((missing >= size - _ROUNDING) | (size == 0)).all(axis=1) & (np.asarray(shares) > 0)
        emptiness = np.divide(missing, wanted, out=np.zeros_like(wanted), where=wanted > 0) @ size
        room = emptiness if fits.any() else missing @ size
        allowed = fits if fits.any() else np.asarray(shares) > 0
        chosen[component] = int(np.argmax(np.where(allowed, room, -np.inf)))
        missing[chosen[component]] -= size
    return chosen
