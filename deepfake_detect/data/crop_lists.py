"""Import published face crops: image files or tars with a CSV of labels.

The CSV has the columns ``name`` (file name, with or without its suffix), ``label`` (1 = fake,
0 = real), ``split``, and may have ``original``: for a fake, the name of the real video it was made
from. A fake and its original have the same target identity, so they stay in one split.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.data.layouts.lists import read_rows
from deepfake_detect.data.manifest import (
    MANIFEST_NAME,
    Manifest,
    read_manifest,
    rows_to_table,
    write_manifest,
)
from deepfake_detect.data.options import CropImportOptions
from deepfake_detect.data.shards import decode_image
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.records import FAKE, REAL, CropGeometry

_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


def import_crops(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    dataset: str,
    margin: float,
    rename_split: tuple[str, ...] = CropImportOptions.rename_split,
    val_fraction: float = CropImportOptions.val_fraction,
    seed: int = CropImportOptions.seed,
    in_place: bool = CropImportOptions.in_place,
) -> Manifest:
    """Import published crops: copy them to ``out/crops`` and write ``out/manifest.parquet``.

    Args:
        root: Folder with one CSV and the images, as files or in tars.
        out: Folder to write; calling the function again overwrites it.
        dataset: Name of the dataset in the manifest; also the method of its fakes.
        margin: Side of the crops divided by the longer side of an MTCNN face box, 0.5 to 4.
        rename_split: Published split names to rename, such as ``("val=test",)``.
        val_fraction: Fraction of the people in ``train`` to hold out as ``val``, 0 to 0.5.
        seed: Random seed for choosing those people.
        in_place: Whether to leave the crops where they are, in their tars, instead of copying them.

    Returns:
        The manifest, with one row per listed crop.

    Raises:
        DatasetLayoutError: The CSV, a column or a listed crop is missing.
        OptionError: A value is not allowed.

    Example:
        >>> manifest = import_crops("dfdc", "out", dataset="DFDC", margin=1.3)  # doctest: +SKIP
    """
    options = CropImportOptions(dataset, margin, tuple(rename_split), val_fraction, seed, in_place)
    source, folder = Path(root), Path(out)
    listed = _read_list(source)
    stored = _store(source, folder, {Path(entry["name"]).stem for entry in listed}, in_place=in_place)
    missing = [entry["name"] for entry in listed if Path(entry["name"]).stem not in stored]
    if missing:
        raise DatasetLayoutError(
            root,
            f"{len(missing)} of {len(listed)} listed crops are absent, the first is {missing[0]}",
            "download all of its tar files",
        )
    held_out = _held_out_identities(listed, options)
    rows = [_row(entry, stored, held_out, options) for entry in listed]
    write_manifest(folder / MANIFEST_NAME, rows_to_table(rows), geometry=CropGeometry(margin=margin))
    return read_manifest(folder)


def _read_list(root: Path) -> list[dict[str, str]]:
    lists = sorted(root.glob("*.csv"))
    if len(lists) != 1:
        raise DatasetLayoutError(
            root, f"contains {len(lists)} CSV files", "it must contain exactly one list of labels"
        )
    rows = read_rows(lists[0], ("name", "label", "split"))
    for line, entry in rows:
        if entry["label"] not in (str(REAL), str(FAKE)):
            raise DatasetLayoutError(
                lists[0], f"line {line} has the label {entry['label']!r}", "write 1 for fake and 0 for real"
            )
        if not entry["name"]:
            raise DatasetLayoutError(lists[0], f"line {line} has no name", "name the crop's file")
    return [entry for _, entry in rows]


def _store(root: Path, out: Path, wanted: set[str], *, in_place: bool) -> dict[str, tuple[str, int]]:
    """Copy the crops; return stem -> (path relative to ``out``, longer side in pixels)."""
    stored: dict[str, tuple[str, int]] = {}
    for source, data in _image_files(root):
        if source.stem not in wanted:
            continue
        image = decode_image(data)
        if image is None:
            raise DatasetLayoutError(source, "is not a readable image", "download it again")
        path = source if in_place else out / "crops" / source.name
        if not in_place:
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
        stored[source.stem] = (os.path.relpath(path.resolve(), out.resolve()), max(image.shape[:2]))
    return stored


def _image_files(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every image with its path, which continues inside a tar."""
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            yield path, path.read_bytes()
        elif path.suffix == ".tar":
            yield from _images_of_tar(path)


def _images_of_tar(path: Path) -> Iterator[tuple[Path, bytes]]:
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None and Path(member.name).suffix.lower() in _IMAGE_SUFFIXES:
                    yield path / member.name.removeprefix("./"), file.read()
    except (tarfile.TarError, OSError) as error:
        raise DatasetLayoutError(path, f"is not a readable tar ({error})", "download it again") from error


def _identity(entry: Mapping[str, str]) -> str:
    """Return the name, without suffix, of the real video that an entry shows."""
    return Path(entry.get("original") or entry["name"]).stem


def _held_out_identities(listed: list[dict[str, str]], options: CropImportOptions) -> set[str]:
    names = options.split_names
    training = {_identity(entry) for entry in listed if names.get(entry["split"], entry["split"]) == "train"}
    order = np.random.default_rng(options.seed).permutation(sorted(training))
    return set(order[: round(len(order) * options.val_fraction)].tolist())


def _row(
    entry: Mapping[str, str],
    stored: Mapping[str, tuple[str, int]],
    held_out: set[str],
    options: CropImportOptions,
) -> dict[str, Any]:
    label = int(entry["label"])
    method = options.dataset if label == FAKE else "original"
    path, stored_size = stored[Path(entry["name"]).stem]
    split = options.split_names.get(entry["split"], entry["split"])
    native = [int(entry[key]) for key in ("native_width", "native_height") if entry.get(key)]
    return {
        "dataset": options.dataset,
        "video_id": f"{options.dataset}/{method}/{Path(entry['name']).stem}",
        "method": method,
        "label": label,
        "split": "val" if split == "train" and _identity(entry) in held_out else split or None,
        "target_id": _identity(entry),
        "frame_index": 0,
        "time_seconds": 0.0,
        "track_id": 0,
        "path": path,
        "native_size": max(native, default=stored_size),
    }
