"""Samples of a generator as a labeled fake set, so that a detector can be trained against it."""

from __future__ import annotations

from collections.abc import Sequence
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
from deepfake_detect.lab.gan.config import FakeSetOptions
from deepfake_detect.lab.gan.generator import as_rgb
from deepfake_detect.lab.gan.images import GanImages
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL

SPLITS = ("train", "val", "test")
_REAL_METHOD = "original"


def write_fake_set(
    out: Path,
    samples: np.ndarray,
    source: GanImages,
    options: FakeSetOptions,
    *,
    method: str,
    seed: int = 0,
    show_progress: bool = True,
) -> Manifest:
    """Write samples, and optionally real images, as PNG crops with a manifest.

    **Fake is 1 here**, as everywhere in the library, although papers on GANs call it 0. Real images are
    written as the GAN saw them, at its size and in the same format: otherwise a detector would learn to
    distinguish file formats. All images of a person are in the same split.

    Args:
        out: Folder to write; an earlier set is replaced.
        samples: uint8 (N, S, S, C).
        source: Images that the generator was trained on.
        options: Splits, and whether real images are added.
        method: Of the fakes in the manifest, such as ``"gan-conv"``.
        seed: Of the choice of real images and of their splits.
        show_progress: Whether to show a progress bar.

    Returns:
        The manifest: N fakes, then the reals.
    """
    fakes = [
        _row(method, source.dataset, number, FAKE, split, None)
        for number, split in enumerate(_split_in_order(len(samples), options.splits))
    ]
    rows, images = fakes, list(samples)
    if options.with_reals:
        chosen = np.sort(np.random.default_rng([seed, 0]).permutation(len(source.images))[: len(samples)])
        people = [source.people[number] for number in chosen]
        splits = _split_by_person(people, options.splits, seed)
        rows = fakes + [
            _row(_REAL_METHOD, source.dataset, int(number), REAL, split, person)
            for number, split, person in zip(chosen, splits, people, strict=True)
        ]
        images += list(source.images[chosen])
    # Without a manifest until all crops are replaced: it would describe the wrong ones.
    (out / MANIFEST_NAME).unlink(missing_ok=True)
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("fake set", total=len(rows), note="")
        for row, image in zip(rows, images, strict=True):
            row["native_size"] = image.shape[0]
            save_image(out / row["path"], as_rgb(image[None])[0])
            progress.advance(task)
    write_manifest(out / MANIFEST_NAME, rows_to_table(rows), geometry=source.geometry, codec="png")
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


def _split_in_order(count: int, fractions: Sequence[float]) -> list[str]:
    """Return the split of each of ``count`` items: first those of train, then val, then test."""
    ends = np.rint(np.cumsum(fractions) * count).astype(int)
    return [SPLITS[int(np.searchsorted(ends, number, side="right"))] for number in range(count)]


def _split_by_person(people: Sequence[str | None], fractions: Sequence[float], seed: int) -> list[str]:
    """Return the split of each image: people in random order fill one split after another."""
    images_of: dict[str, list[int]] = {}
    for index, person in enumerate(people):
        images_of.setdefault(f"person {person}" if person else f"unknown {index}", []).append(index)
    names = sorted(images_of)
    order = [names[n] for n in np.random.default_rng([seed, 1]).permutation(len(names))]
    indices = [index for name in order for index in images_of[name]]
    wanted = dict(zip(indices, _split_in_order(len(people), fractions), strict=True))
    # All images of a person are in the split of the first one, also across a boundary.
    split_of = {index: wanted[images_of[name][0]] for name in order for index in images_of[name]}
    return [split_of[index] for index in range(len(people))]
