"""Samples of a generator as a labeled fake set, so that a detector can be trained against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.data.layouts.base import make_video_id
from deepfake_detect.data.manifest import (
    MANIFEST_NAME,
    Manifest,
    read_manifest,
    rows_to_table,
    write_manifest,
)
from deepfake_detect.data.sheets import save_image
from deepfake_detect.errors import OptionError
from deepfake_detect.lab.gan.config import DEFAULT_SHARES
from deepfake_detect.lab.gan.loop import as_rgb
from deepfake_detect.lab.gan.pictures import GanPictures
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL

SPLITS = ("train", "val", "test")
_REAL_METHOD = "original"


@dataclass(frozen=True)
class FakeSetOptions:
    """How samples become a fake set.

    Attributes:
        method: Of the fakes in the manifest, such as ``"gan-conv"``.
        shares: Of the samples in train, val and test; they add up to 1.
        with_reals: Whether as many of the real pictures go into the set, as rows of label 0.
        seed: Of the choice of real pictures and of their splits.

    Raises:
        OptionError: A share is negative or no number, or they do not add up to 1.
    """

    method: str
    shares: tuple[float, float, float] = DEFAULT_SHARES
    with_reals: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not (all(share >= 0 for share in self.shares) and abs(sum(self.shares) - 1) <= 1e-6):
            words = " ".join(f"{share:g}" for share in self.shares)
            raise OptionError("splits", f"are {words}", "pass shares of train, val and test that add up to 1")


def write_fake_set(
    out: Path,
    samples: np.ndarray,
    pictures: GanPictures,
    options: FakeSetOptions,
    *,
    show_progress: bool = True,
) -> Manifest:
    """Write samples, and real pictures where asked, as PNG crops with a manifest.

    **Fake is 1 here**, as everywhere in the library, though a GAN's own papers call it 0. Real
    pictures are written as the GAN saw them, of its size and in the same format: otherwise a
    detector would learn to tell file formats apart. Those of one person go into one split.

    Args:
        out: Folder to write; running again rewrites it.
        samples: uint8 (N, S, S, C).
        pictures: What the generator learned from.
        options: How.
        show_progress: Whether to draw a progress bar.

    Returns:
        The manifest: N fakes, then the reals.
    """
    fakes = [
        _row(options.method, pictures.dataset, number, FAKE, split, None)
        for number, split in enumerate(_split_in_order(len(samples), options.shares))
    ]
    rows, images = fakes, list(samples)
    if options.with_reals:
        chosen = _chosen_reals(len(pictures.images), len(samples), options.seed)
        people = [pictures.people[number] for number in chosen]
        splits = _split_of_people(people, options)
        rows = fakes + [
            _row(_REAL_METHOD, pictures.dataset, int(number), REAL, split, person)
            for number, split, person in zip(chosen, splits, people, strict=True)
        ]
        images += list(pictures.images[chosen])
    # While crops are replaced there is no manifest that could say wrong things of them.
    (out / MANIFEST_NAME).unlink(missing_ok=True)
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("fake set", total=len(rows), note="")
        for row, image in zip(rows, images, strict=True):
            row["native_size"] = image.shape[0]
            save_image(out / row["path"], as_rgb(image[None])[0])
            progress.advance(task)
    write_manifest(out / MANIFEST_NAME, rows_to_table(rows), geometry=pictures.geometry, codec="png")
    return read_manifest(out)


def _row(
    method: str, dataset: str, number: int, label: int, split: str, person: str | None
) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "video_id": make_video_id(dataset, method, None, f"{number:07d}"),
        "method": method,
        "label": label,
        "split": split,
        "target_id": person,
        "frame_index": 0,
        "time_seconds": 0.0,
        "track_id": 0,
        "path": f"crops/{method}/{number:07d}.png",
    }


def _chosen_reals(count: int, wanted: int, seed: int) -> np.ndarray:
    chosen = np.random.default_rng([seed, 0]).permutation(count)[:wanted]
    return np.sort(chosen)


def _split_in_order(count: int, shares: Sequence[float]) -> list[str]:
    """Return the split of each of a number of things that nothing binds to one another."""
    ends = np.rint(np.cumsum(shares) * count).astype(int)
    return [SPLITS[int(np.searchsorted(ends, number, side="right"))] for number in range(count)]


def _split_of_people(people: Sequence[str | None], options: FakeSetOptions) -> list[str]:
    """Return a split for each picture: people are drawn one by one until a split has its share."""
    groups: dict[str, list[int]] = {}
    for place, person in enumerate(people):
        groups.setdefault(f"person {person}" if person else f"picture {place}", []).append(place)
    names = sorted(groups)
    order = [names[n] for n in np.random.default_rng([options.seed, 1]).permutation(len(names))]
    places = [place for name in order for place in groups[name]]
    wanted = dict(zip(places, _split_in_order(len(people), options.shares), strict=True))
    # A person whose pictures reach over a boundary stays where the first of them fell.
    split_of = {place: wanted[groups[name][0]] for name in order for place in groups[name]}
    return [split_of[place] for place in range(len(people))]
