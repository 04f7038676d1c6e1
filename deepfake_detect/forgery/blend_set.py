"""Reals and fakes made from them, as files with a manifest."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import (
    MANIFEST_NAME,
    Manifest,
    read_manifest,
    rows_to_table,
    write_manifest,
)
from deepfake_detect.data.sheets import contact_sheet, save_image
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.forgery.blended_crops import Blender, Forgery, relative_landmarks
from deepfake_detect.forgery.blends import BlendOptions, BlendWord, parse_blends
from deepfake_detect.forgery.single import SelfBlendPair
from deepfake_detect.io.files import atomic_path, file_lock, make_folder
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import FAKE, REAL

SHEET_NAME = "sheet.png"
_NUM_ON_SHEET, _SHEET_SIDE = 12, 160
_CODEC = "png"


@dataclass(frozen=True)
class BlendSet:
    """What :func:`blend_crops` wrote.

    Attributes:
        manifest: Two rows for each real: the real and its fake.
        num_reals: Real crops that were selected.
        sheet: Contact sheet of some of them.
    """

    manifest: Manifest
    num_reals: int
    sheet: Path

    @property
    def num_fakes(self) -> int:
        """Fakes that were made."""
        return self.manifest.num_rows // 2

    def summary(self) -> str:
        """Return the counts and the files in two lines."""
        skipped = f"{self.num_reals - self.num_fakes:,} skipped (no face that can be blended)"
        return (
            f"{counted(self.num_fakes, 'fake')} of {counted(self.num_reals, 'real')}, {skipped}\n"
            f"wrote {self.manifest.path} and {self.sheet}"
        )


_DEFAULTS = BlendOptions()


def blend_crops(
    manifest: str | Path, out: Path, options: BlendOptions = _DEFAULTS, *, show_progress: bool = True
) -> BlendSet:
    """Blend each real crop of a manifest, and write reals and fakes with a manifest and a sheet.

    Args:
        manifest: Manifest with real crops.
        out: Folder for ``crops/``, ``manifest.parquet`` and ``sheet.png``.
        options: Which crops, and how.
        show_progress: Whether to show progress bars.

    Raises:
        ManifestError, OptionError, OutputError: As :func:`write_blends`.
    """
    rows = read_manifest(manifest)
    rows = (rows if options.where is None else rows.where(options.where)).split(options.split)
    made = write_blends(
        rows,
        out,
        parse_blends(options.method),
        seed=options.seed,
        device=options.device,
        show_progress=show_progress,
    )
    return BlendSet(made, rows.where(f"label = {REAL}").num_rows, out / SHEET_NAME)


def write_blends(
    rows: Manifest,
    out: Path,
    words: Sequence[BlendWord],
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    show_progress: bool = True,
) -> Manifest:
    """Make a fake of each real, and write both with a manifest and a sheet of some of them.

    The row of a blend is that of its real with the label 1, the kind of blend as method, and its own
    video; it keeps the split and the identities, so that a fake never is in another split than its
    real. What is written depends on rows and seed only; running again writes the same.

    Args:
        rows: Of a manifest; fakes among them are skipped, as are reals without a readable crop of
            32 pixels or more with a face in it.
        out: Folder for ``crops/``, ``manifest.parquet`` and ``sheet.png``.
        words: Kinds of blend, see :mod:`forgery.blends`.
        seed: Of the blends.
        device: Where the face detector runs, for crops without landmarks.
        show_progress: Whether to show progress bars.

    Returns:
        The manifest, two rows per real.

    Raises:
        ManifestError: No real can be blended.
        OptionError: ``cross`` is named and a split has fewer than two people, or ``out`` is the folder
            of the manifest that is read.
        OutputError: The folder cannot be written to, or another process writes there.
    """
    if out.resolve() == rows.root.resolve():
        raise OptionError("out", "is the folder of the manifest that is read", "pass another folder")
    with file_lock(make_folder(out), what="blending"):
        blenders = [
            (part, Blender(part, relative_landmarks(part, device=device, show_progress=show_progress), words))
            for part in _splits(rows.where(f"label = {REAL}"))
        ]
        # While crops are replaced there must be no manifest that describes the old ones.
        (out / MANIFEST_NAME).unlink(missing_ok=True)
        written: list[dict[str, Any]] = []
        shown: list[SelfBlendPair] = []
        with progress_bar(enabled=show_progress) as progress:
            task = progress.add_task("blends", total=sum(len(one.rows) for _, one in blenders), note="")
            for part, blender in blenders:
                for real, forgery in _forgeries(part, blender, seed):
                    written += _written(real, f"{len(written) // 2:08d}", forgery, out)
                    shown += [forgery.pair] if len(shown) < _NUM_ON_SHEET else []
                    progress.advance(task)
        if not written:
            raise ManifestError(rows.path, "has no real crop with a face in it", "extract faces of reals")
        images: list[np.ndarray] = []
        for pair in shown:
            mask = np.repeat((pair.mask * 255).round().astype(np.uint8)[..., None], 3, axis=2)
            images += [pair.real, pair.blended, mask]
        captions = ["real", "fake", "mask"] * len(shown)
        save_image(out / SHEET_NAME, contact_sheet(images, captions, num_columns=12, side=_SHEET_SIDE))
        write_manifest(out / MANIFEST_NAME, rows_to_table(written), geometry=rows.geometry, codec=_CODEC)
    return read_manifest(out)


def _splits(reals: Manifest) -> Iterator[Manifest]:
    """Yield the rows of each split: a face of one split must not be blended into another split's."""
    names = reals.query("select distinct split from rows order by split")["split"].to_pylist()
    for name in names:
        yield reals.where("split is null") if name is None else reals.split(name)


def _forgeries(reals: Manifest, blender: Blender, seed: int) -> Iterator[tuple[dict[str, Any], Forgery]]:
    table = reals.table
    for row in blender.rows.tolist():
        real: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
        try:
            image = read_crop(reals.root / real["path"])
        except ManifestError:
            continue  # it was removed after its landmarks were read
        name = zlib.crc32(real["path"].encode())
        forgery = blender.make(row, image, np.random.default_rng([seed, name]))
        if forgery is not None:
            yield real, forgery


def _written(real: dict[str, Any], name: str, forgery: Forgery, out: Path) -> list[dict[str, Any]]:
    """Write a real and its fake; return their rows."""
    about_fake = {
        "method": forgery.method,
        "label": FAKE,
        "video_id": f"{real['video_id']}/{forgery.method}",
        "source_id": forgery.source_id,
    }
    rows = []
    for image, word, about in ((forgery.pair.real, "real", {}), (forgery.pair.blended, "fake", about_fake)):
        path = f"crops/{name}-{word}.png"
        with atomic_path(out / path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
        rows.append({**real, **about, "path": path})
    return rows
