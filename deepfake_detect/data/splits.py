"""Splits that cannot leak: official ones kept, others made of whole groups of connected people.

A forgery shows its target and its source. Videos that share a person, directly or over other
videos, form one connected group (component), and a group is never divided.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_detect.data.identities import identity_key
from deepfake_detect.errors import OptionError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

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
            the owners say nothing, into splits that the owners did not make (theirs are never added
            to); those that share a person with an official split stay without one.
            ``"identity"`` divides all videos anew.
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
    _check_options(policy, shares, val_fraction, seed)
    result = [replace(video, split=None) if policy == "identity" else video for video in videos]
    notes = [] if policy == "official" else _divide_unsplit(result, shares, seed)
    if val_fraction:
        notes += _set_val_apart(result, val_fraction, seed)
    return SplitAssignment(tuple(result), tuple(notes), splits_sha256(result))


def splits_sha256(videos: Sequence[DatasetVideo]) -> str:
    """Return a hash of every video's split, the same in whatever order the videos come."""
    lines = sorted(f"{video.video_id}\t{video.split or ''}" for video in videos)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _check_options(policy: str, shares: Sequence[float], val_fraction: float, seed: int) -> None:
    if policy not in SPLIT_POLICIES:
        raise OptionError("split", f"{policy!r} is unknown", f"choose {', '.join(SPLIT_POLICIES)}")
    if len(shares) != len(SPLITS) or not (min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
        raise OptionError(
            "shares", f"are {tuple(shares)}", "pass three numbers from 0 that add up to 1, such as .8 .1 .1"
        )
    if not 0 <= val_fraction <= 0.5:
        raise OptionError("val_fraction", f"is {val_fraction}", "pass 0 to 0.5")
    if seed < 0:
        raise OptionError("split_seed", f"is {seed}", "pass 0 or more")


def _divide_unsplit(videos: list[DatasetVideo], shares: Sequence[float], seed: int) -> list[str]:
    """Divide the videos that have no split, in place; return notes."""
    components = _components(videos)
    official = {c for c, video in zip(components, videos, strict=True) if video.split}
    datasets: dict[int, set[str]] = {}
    made: dict[str, set[str]] = {}
    for component, video in zip(components, videos, strict=True):
        datasets.setdefault(component, set()).add(video.dataset)
        made.setdefault(video.dataset, set()).update({video.split} if video.split else ())
    notes = _note_bound(videos, components, official)
    free: dict[tuple[str, ...], list[int]] = {}
    for position, component in enumerate(components):
        if videos[position].split is None and component not in official:
            free.setdefault(tuple(sorted(datasets[component])), []).append(position)
    for names, positions in sorted(free.items()):
        allowed = [split not in set().union(*(made[name] for name in names)) for split in SPLITS]
        notes += _divide(videos, positions, [components[p] for p in positions], shares, allowed, seed)
    return notes


def _note_bound(
    videos: Sequence[DatasetVideo], components: Sequence[int], official: Container[int]
) -> list[str]:
    bound = Counter(
        video.dataset
        for c, video in zip(components, videos, strict=True)
        if not video.split and c in official
    )
    return [
        f"{dataset}: {count:,} videos share a person with an official split and get none "
        "(--split identity divides all videos anew)"
        for dataset, count in sorted(bound.items())
    ]


def _divide(
    videos: list[DatasetVideo],
    positions: Sequence[int],
    components: Sequence[int],
    shares: Sequence[float],
    allowed: Sequence[bool],
    seed: int,
) -> list[str]:
    """Divide free videos among the allowed splits, in place; return notes."""
    open_shares = [share if is_allowed else 0.0 for share, is_allowed in zip(shares, allowed, strict=True)]
    subject = f"{' and '.join(sorted({videos[p].dataset for p in positions}))}: {len(positions):,} videos"
    if sum(open_shares) == 0:
        return [f"{subject} have no official split, and the owners made every split: they get none"]
    num_groups = len(set(components))
    if num_groups < sum(share > 0 for share in open_shares):
        groups = f"{num_groups} connected group{'s' * (num_groups > 1)} of people"
        return [f"{subject} form {groups}, which cannot be divided: they get no split"]
    total = sum(open_shares)
    chosen = _choose_splits(
        components, [videos[p] for p in positions], [share / total for share in open_shares], seed
    )
    divided = [
        replace(videos[p], split=SPLITS[chosen[c]]) for p, c in zip(positions, components, strict=True)
    ]
    lacking = _what_lacks(divided, [name for name, share in zip(SPLITS, open_shares, strict=True) if share])
    if not all(allowed) and lacking:
        return [f"{subject} beside the official splits get none: divided, {lacking}"]
    for position, video in zip(positions, divided, strict=True):
        videos[position] = video
    note = f"{subject} divided here, by {num_groups:,} groups of people"
    return [f"{note}; {lacking}" if lacking else note, *_lone_group_note(divided)]


def _what_lacks(videos: Sequence[DatasetVideo], splits: Sequence[str]) -> str:
    """Say which splits would lack a class that is there to be divided."""
    labels = {video.label for video in videos}
    found = {(video.split, video.label) for video in videos}
    lacks = [
        f"{split} has no {'fake' if label == FAKE else 'real'}"
        for split in splits
        for label in sorted(labels | {REAL, FAKE})
        if (split, label) not in found
    ]
    return ", ".join(lacks)


def _set_val_apart(videos: list[DatasetVideo], fraction: float, seed: int) -> list[str]:
    """Move whole groups of train videos to val, dataset by dataset, in place; return notes."""
    components = _components(videos)
    notes = []
    for dataset in sorted({video.dataset for video in videos}):
        if any(video.split == "val" for video in videos if video.dataset == dataset):
            raise OptionError("val_fraction", f"{dataset} has a val split already", "leave it out")
        training = [n for n, v in enumerate(videos) if v.dataset == dataset and v.split == "train"]
        if training:
            notes += _set_val_of_one_apart(videos, training, components, fraction, seed)
    return notes


def _set_val_of_one_apart(
    videos: list[DatasetVideo], training: Sequence[int], components: Sequence[int], fraction: float, seed: int
) -> list[str]:
    dataset = videos[training[0]].dataset
    # People of train who are also elsewhere (in another dataset, say) stay in train.
    elsewhere = {c for n, c in enumerate(components) if n not in set(training)}
    movable = [n for n in training if components[n] not in elsewhere]
    if len({components[n] for n in movable}) < 2:
        raise OptionError(
            "val_fraction",
            f"all {len(training):,} train videos of {dataset} form one connected group of people",
            "leave it out: no val can be set apart without sharing people",
        )
    shares = (1 - fraction, fraction)
    chosen = _choose_splits([components[n] for n in movable], [videos[n] for n in movable], shares, seed)
    for number in movable:
        videos[number] = replace(videos[number], split=SPLITS[chosen[components[number]]])
    moved = sum(videos[number].split == "val" for number in movable)
    return [
        f"{dataset}: {moved:,} of {len(training):,} train videos set apart as val",
        *_lone_group_note([videos[number] for number in training]),
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

    Where all videos of a dataset are of one ``group_id``, it binds nothing: people alone do.
    """
    nodes: dict[str, int] = {}
    rows, columns = [], []
    groups = {video.dataset: set[str | None]() for video in videos}
    for video in videos:
        groups[video.dataset].add(video.group_id)
    for row, video in enumerate(videos):
        bonds = [identity_key(video.dataset, name) for name in (video.target_id, video.source_id) if name]
        if video.group_id and len(groups[video.dataset]) > 1:
            bonds.append(f"group/{video.dataset}/{video.group_id}")
        for bond in bonds:
            rows.append(row)
            columns.append(len(videos) + nodes.setdefault(bond, len(nodes)))
    size = len(videos) + len(nodes)
    edges = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    numbers: list[int] = connected_components(edges, directed=False)[1][: len(videos)].tolist()
    return numbers


def _choose_splits(
    components: Sequence[int], videos: Sequence[DatasetVideo], shares: Sequence[float], seed: int
) -> dict[int, int]:
    """Return component -> position in ``shares``, so that each class is divided by the shares.

    The largest groups are placed first, groups of one size in an order drawn by lot, which hangs on
    the seed and the group's first video alone. Each goes to the split that is emptiest by its share
    among those it fits into; one that fits nowhere goes where most is missing.
    """
    sizes: dict[int, np.ndarray] = {}
    names: dict[int, str] = {}
    for component, video in zip(components, videos, strict=True):
        sizes.setdefault(component, np.zeros(2))[video.label] += 1
        names[component] = min(names.get(component, video.video_id), video.video_id)
    order = sorted(sizes, key=lambda one: (-sizes[one].sum(), _lot(names[one], seed)))
    totals = sum(sizes.values(), np.zeros(2))
    wanted = np.outer(shares, totals)  # (splits, classes)
    missing = wanted.copy()
    chosen = {}
    for component in order:
        size = sizes[component]
        fits = ((missing >= size - _ROUNDING) | (size == 0)).all(axis=1) & (np.asarray(shares) > 0)
        emptiness = np.divide(missing, wanted, out=np.zeros_like(wanted), where=wanted > 0) @ size
        room = emptiness if fits.any() else missing @ size
        allowed = fits if fits.any() else np.asarray(shares) > 0
        chosen[component] = int(np.argmax(np.where(allowed, room, -np.inf)))
        missing[chosen[component]] -= size
    return chosen


def _lot(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
