"""Splits without leaks: official ones are kept, others are made of whole groups of connected people.

A forgery shows its target and its source. Videos that share a person, directly or through other
videos, form one connected group (component), and a group is never divided.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepfake_detect.data.identities import identity_key
from deepfake_detect.data.options import SplitOptions, SplitPolicy
from deepfake_detect.errors import OptionError
from deepfake_detect.plurals import counted
from deepfake_detect.records import FAKE, REAL, DatasetVideo

SPLITS = ("train", "val", "test")
# A group fits when no class overflows by more than half a video: targets are rarely integers.
_ROUNDING = 0.5 + 1e-6


@dataclass(frozen=True)
class SplitAssignment:
    """Videos with their splits."""

    videos: tuple[DatasetVideo, ...]  # in the order given; the split is None where none could be assigned
    notes: tuple[str, ...]  # one line on each decision
    sha256: str  # of every video's split


def assign_splits(
    videos: Sequence[DatasetVideo],
    *,
    split: SplitPolicy = SplitOptions.split,
    split_fractions: tuple[float, float, float] = SplitOptions.split_fractions,
    val_fraction: float = SplitOptions.val_fraction,
    split_seed: int = SplitOptions.split_seed,
) -> SplitAssignment:
    """Assign a split to every video.

    Args:
        videos: Videos of one or several datasets, with their official splits.
        split: ``"official"`` keeps the official splits. ``"auto"`` also divides the videos without an
            official split, into splits that the dataset's owners did not make (nothing is added to
            theirs); videos that share a person with an official split stay without one.
            ``"identity"`` divides all videos again.
        split_fractions: Fractions of train, val and test among videos divided here; they add up to 1.
        val_fraction: Fraction of an official train split to set apart as val, for datasets whose
            owners made no val, 0 to 0.5.
        split_seed: Seed of the division.

    Returns:
        The videos with splits, notes and the hash.

    Raises:
        OptionError: A value is not allowed, or ``val_fraction`` is given for a dataset with a val split.

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
    options = SplitOptions(split, split_fractions, val_fraction, split_seed)
    result = [replace(video, split=None) if split == "identity" else video for video in videos]
    notes = [] if split == "official" else _divide_unsplit(result, options)
    if val_fraction:
        notes += _set_val_apart(result, options)
    return SplitAssignment(tuple(result), tuple(notes), splits_sha256(result))


def splits_sha256(videos: Sequence[DatasetVideo]) -> str:
    """Return a hash of every video's split, which does not depend on the order of the videos."""
    lines = sorted(f"{video.video_id}\t{video.split or ''}" for video in videos)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _divide_unsplit(videos: list[DatasetVideo], options: SplitOptions) -> list[str]:
    """Divide the videos that have no split, in place; return notes."""
    components = _components(videos)
    official = {component for component, video in zip(components, videos, strict=True) if video.split}
    datasets: dict[int, set[str]] = {}
    made: dict[str, set[str]] = {}
    for component, video in zip(components, videos, strict=True):
        datasets.setdefault(component, set()).add(video.dataset)
        made.setdefault(video.dataset, set()).update({video.split} if video.split else ())
    connected: Counter[str] = Counter()
    free: dict[tuple[str, ...], list[int]] = {}
    for index, component in enumerate(components):
        if component in official:
            connected[videos[index].dataset] += not videos[index].split
        else:
            free.setdefault(tuple(sorted(datasets[component])), []).append(index)
    notes = [
        f"{dataset}: no split for {counted(count, 'video')} sharing a person with an official split "
        "(split 'identity' divides all videos again)"
        for dataset, count in sorted(connected.items())
        if count
    ]
    for names, indices in sorted(free.items()):
        allowed = [split not in set().union(*(made[name] for name in names)) for split in SPLITS]
        notes += _divide(videos, indices, [components[index] for index in indices], allowed, options)
    return notes


def _divide(
    videos: list[DatasetVideo],
    indices: Sequence[int],
    components: Sequence[int],
    allowed: Sequence[bool],
    options: SplitOptions,
) -> list[str]:
    """Divide videos without a split among the allowed splits, in place; return notes."""
    fractions = [
        fraction if is_allowed else 0.0
        for fraction, is_allowed in zip(options.split_fractions, allowed, strict=True)
    ]
    subject = (
        f"{' and '.join(sorted({videos[i].dataset for i in indices}))}: {counted(len(indices), 'video')}"
    )
    total = sum(fractions)
    if total == 0:
        return [f"{subject} have no official split, and every split is official: they get no split"]
    num_groups = len(set(components))
    if num_groups < sum(fraction > 0 for fraction in fractions):
        groups = f"{num_groups} connected group{'s' * (num_groups > 1)} of people"
        return [f"{subject} form {groups}, which cannot be divided: they get no split"]
    of_component = _choose_splits(
        components,
        [videos[index] for index in indices],
        [fraction / total for fraction in fractions],
        options.split_seed,
    )
    divided = [
        replace(videos[index], split=SPLITS[of_component[component]])
        for index, component in zip(indices, components, strict=True)
    ]
    lacking = _lacking_classes(divided, [name for name, one in zip(SPLITS, fractions, strict=True) if one])
    if not all(allowed) and lacking:
        return [f"{subject} without an official split get none: divided, {lacking}"]
    for index, video in zip(indices, divided, strict=True):
        videos[index] = video
    note = f"{subject} divided here, by {num_groups:,} groups of people"
    return [f"{note}; {lacking}" if lacking else note, *_note_single_group(divided)]


def _lacking_classes(videos: Sequence[DatasetVideo], splits: Sequence[str]) -> str:
    """Describe which splits lack a class."""
    labels = {video.label for video in videos}
    found = {(video.split, video.label) for video in videos}
    lacks = [
        f"{split} has no {'fake' if label == FAKE else 'real'}"
        for split in splits
        for label in sorted(labels | {REAL, FAKE})
        if (split, label) not in found
    ]
    return ", ".join(lacks)


def _set_val_apart(videos: list[DatasetVideo], options: SplitOptions) -> list[str]:
    """Move whole groups of train videos to val, one dataset after the other, in place; return notes."""
    components = _components(videos)
    notes = []
    for dataset in sorted({video.dataset for video in videos}):
        if any(video.split == "val" for video in videos if video.dataset == dataset):
            raise OptionError("val_fraction", f"{dataset} has a val split already", "omit it")
        training = [n for n, v in enumerate(videos) if v.dataset == dataset and v.split == "train"]
        if training:
            notes += _set_val_of_dataset_apart(videos, training, components, options)
    return notes


def _set_val_of_dataset_apart(
    videos: list[DatasetVideo], training: Sequence[int], components: Sequence[int], options: SplitOptions
) -> list[str]:
    dataset = videos[training[0]].dataset
    # People of train who also occur elsewhere (in another dataset, say) stay in train.
    elsewhere = {component for n, component in enumerate(components) if n not in set(training)}
    movable = [n for n in training if components[n] not in elsewhere]
    if len({components[n] for n in movable}) < 2:
        raise OptionError(
            "val_fraction",
            f"all {len(training):,} train videos of {dataset} form one connected group of people",
            "omit it: no val can be set apart without sharing people",
        )
    fractions = (1 - options.val_fraction, options.val_fraction)
    of_component = _choose_splits(
        [components[n] for n in movable], [videos[n] for n in movable], fractions, options.split_seed
    )
    for n in movable:
        videos[n] = replace(videos[n], split=SPLITS[of_component[components[n]]])
    num_moved = sum(videos[n].split == "val" for n in movable)
    return [
        f"{dataset}: {num_moved:,} of {len(training):,} train videos set apart as val",
        *_note_single_group([videos[n] for n in training]),
    ]


def _note_single_group(videos: Sequence[DatasetVideo]) -> list[str]:
    groups = {video.group_id for video in videos}
    if len(groups) != 1 or None in groups:
        return []
    return [
        f"{videos[0].dataset}: all of one part ({groups.pop()}), so divided by original video; "
        "people who appear in several originals may be on both sides"
    ]


def _components(videos: Sequence[DatasetVideo]) -> list[int]:
    """Return the number of each video's connected group.

    Where all videos of a dataset have one ``group_id``, the group is ignored and only people connect.
    """
    # Imported here: listing the options of a command must not wait for SciPy.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes: dict[str, int] = {}
    rows, columns = [], []
    groups = {video.dataset: set[str | None]() for video in videos}
    for video in videos:
        groups[video.dataset].add(video.group_id)
    for row, video in enumerate(videos):
        links = [identity_key(video.dataset, name) for name in (video.target_id, video.source_id) if name]
        if video.group_id and len(groups[video.dataset]) > 1:
            links.append(f"group/{video.dataset}/{video.group_id}")
        for link in links:
            rows.append(row)
            columns.append(len(videos) + nodes.setdefault(link, len(nodes)))
    size = len(videos) + len(nodes)
    edges = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    numbers: list[int] = connected_components(edges, directed=False)[1][: len(videos)].tolist()
    return numbers


def _choose_splits(
    components: Sequence[int], videos: Sequence[DatasetVideo], fractions: Sequence[float], seed: int
) -> dict[int, int]:
    """Return component -> index into ``fractions``, so that each class is divided by the fractions.

    The largest groups are assigned first; groups of one size come in a random order that depends only
    on the seed and the group's first video. Each group goes to the emptiest split, relative to its
    size, of those it fits into; a group that fits nowhere goes where most is missing.
    """
    sizes: dict[int, np.ndarray] = {}
    names: dict[int, str] = {}
    for component, video in zip(components, videos, strict=True):
        sizes.setdefault(component, np.zeros(2))[video.label] += 1
        names[component] = min(names.get(component, video.video_id), video.video_id)
    random_key = {one: hashlib.sha256(f"{seed}/{name}".encode()).digest() for one, name in names.items()}
    order = sorted(sizes, key=lambda one: (-sizes[one].sum(), random_key[one]))
    totals = sum(sizes.values(), np.zeros(2))
    wanted = np.outer(fractions, totals)  # (splits, classes)
    missing = wanted.copy()
    chosen = {}
    for component in order:
        size = sizes[component]
        fits = ((missing >= size - _ROUNDING) | (size == 0)).all(axis=1) & (np.asarray(fractions) > 0)
        emptiness = np.divide(missing, wanted, out=np.zeros_like(wanted), where=wanted > 0) @ size
        room = emptiness if fits.any() else missing @ size
        allowed = fits if fits.any() else np.asarray(fractions) > 0
        chosen[component] = int(np.argmax(np.where(allowed, room, -np.inf)))
        missing[chosen[component]] -= size
    return chosen
