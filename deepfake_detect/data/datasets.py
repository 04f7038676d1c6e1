"""Datasets on disk: which can be read, and the index of one."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.data.layouts import LAYOUTS, Layout, Selection, VideoListing, read_layout
from deepfake_detect.data.layouts.base import group_name
from deepfake_detect.data.options import ReadingOptions, SplitPolicy
from deepfake_detect.data.splits import SplitAssignment, assign_splits
from deepfake_detect.errors import OptionError
from deepfake_detect.plurals import counted
from deepfake_detect.records import FAKE, REAL, DatasetVideo

_MAX_NAMED = 5


@dataclass(frozen=True)
class DatasetReport:
    """The videos of a dataset, and what of it is present.

    Attributes:
        layout: Name of the layout, as the option ``dataset`` takes it.
        dataset: Name of the dataset, as its papers write it.
        evidence: What the layout was recognized by.
        listing: Videos present, missing and ignored.
        assignment: The videos present with their splits.
        path: Index that was written, if any.
        missing_path: CSV of the missing videos that was written, if any.
    """

    layout: str
    dataset: str
    evidence: str
    listing: VideoListing
    assignment: SplitAssignment
    path: Path | None = None
    missing_path: Path | None = None

    @property
    def videos(self) -> tuple[DatasetVideo, ...]:
        """The videos present, with their splits."""
        return self.assignment.videos

    def lines(self) -> list[str]:
        """Return the report as text: what is present, what is missing, and the splits."""
        lines = [f"{self.dataset} ({self.layout}): {self.evidence}", *self._presence(), *self._splits()]
        if self.path is not None:
            lines.append(f"wrote {counted(len(self.videos), 'video')} to {self.path}")
        return lines

    def _presence(self) -> list[str]:
        lines = []
        missing = Counter(group_name(video) for video in self.listing.missing)
        for group, (found, expected) in self.listing.counts().items():
            total = "" if expected is None else f" of {expected:,}"
            absent = f", {missing[group]:,} not downloaded" if missing[group] else ""
            lines.append(f"found {found:,}{total} {group} videos{absent}")
        if missing and self.missing_path is not None:
            lines.append(f"videos that were not downloaded are listed in {self.missing_path}")
        if ignored := self.listing.ignored:
            named = ", ".join(str(path) for path in ignored[:_MAX_NAMED])
            more = ", ..." if len(ignored) > _MAX_NAMED else ""
            lines.append(f"ignored, not part of the dataset: {len(ignored):,} ({named}{more})")
        return [*lines, *self.listing.notes]

    def _splits(self) -> list[str]:
        counts = Counter((video.split or "no split", video.label) for video in self.videos)
        lines = [
            f"{split}: {counts[split, REAL]:,} real, {counts[split, FAKE]:,} fake"
            for split in ("train", "val", "test", "no split")
            if counts[split, REAL] or counts[split, FAKE]
        ]
        return [*lines, *self.assignment.notes, f"splits sha256 {self.assignment.sha256}"]


def list_layouts(dataset: str | None = None) -> tuple[Layout, ...]:
    """Return the supported dataset layouts, including those from plug-ins.

    Args:
        dataset: Name of a layout; ``None`` returns all.

    Raises:
        OptionError: The name is unknown.

    Example:
        >>> [layout.dataset for layout in list_layouts("uadfv")]
        ['UADFV']
    """
    return tuple(LAYOUTS.values()) if dataset is None else (LAYOUTS.find(dataset),)


def index_dataset(
    root: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    dataset: str | None = ReadingOptions.dataset,
    methods: tuple[str, ...] | None = ReadingOptions.methods,
    compression: tuple[str, ...] | None = ReadingOptions.compression,
    fake_label: str | None = ReadingOptions.fake_label,
    split: SplitPolicy = ReadingOptions.split,
    split_fractions: tuple[float, float, float] = ReadingOptions.split_fractions,
    val_fraction: float = ReadingOptions.val_fraction,
    split_seed: int = ReadingOptions.split_seed,
) -> DatasetReport:
    """List the videos of a dataset with labels, identities and splits.

    Args:
        root: Folder of the dataset as downloaded, or a CSV file.
        out: Parquet file to write, with one row per video; read it with :func:`read_index`. Missing
            videos are written to a CSV next to it. ``None`` writes nothing.
        dataset: Name of the layout, see :func:`list_layouts`; ``None`` recognizes it from the folders.
        methods: Forgery methods to read, with their reals; ``None`` reads all.
        compression: Compression levels to read; ``None`` reads all that are present.
        fake_label: For a CSV: the value that means fake, if not ``fake`` or 1.
        split, split_fractions, val_fraction, split_seed: See :func:`data.splits.assign_splits`.

    Returns:
        The videos, and those that are missing.

    Raises:
        OptionError: An option is not allowed, or does not fit the dataset.
        DatasetLayoutError: No layout fits, a folder is misspelled, labels contradict each other, or
            there is no video.
        OutputError: ``out`` cannot be written.

    Example:
        >>> report = index_dataset("FaceForensics++", out="videos.parquet")  # doctest: +SKIP
        >>> len(report.videos), len(report.listing.missing)  # doctest: +SKIP
        (6000, 0)
    """
    options = ReadingOptions(
        dataset=dataset,
        methods=methods,
        compression=compression,
        fake_label=fake_label,
        split=split,
        split_fractions=split_fractions,
        val_fraction=val_fraction,
        split_seed=split_seed,
    )
    return read_dataset(root, options, index=None if out is None else Path(out))


def read_dataset(
    root: str | os.PathLike[str],
    options: ReadingOptions,
    *,
    index: Path | None = None,
    missing: Path | None = None,
) -> DatasetReport:
    """List the videos of a dataset, as :func:`index_dataset` does, with the options in one object.

    The ``index`` and the CSV of ``missing`` videos are written if they are given; without ``missing``, it
    is next to the index.
    """
    folder = Path(root)
    if index is not None and index.resolve() == folder.resolve():
        raise OptionError("out", f"{index} is the file to read", "choose another file")
    selection = Selection(options.methods, options.compression, options.fake_label)
    layout, evidence, listing = read_layout(folder, dataset=options.dataset, selection=selection)
    assignment = assign_splits(
        listing.videos,
        split=options.split,
        split_fractions=options.split_fractions,
        val_fraction=options.val_fraction,
        split_seed=options.split_seed,
    )
    if index is not None:
        from deepfake_detect.data.index import IndexOrigin, write_index  # needs DuckDB, listing options not

        origin = IndexOrigin(
            kinds=(layout.name,),
            roots=(str(folder.absolute()),),
            split_policy=options.split,
            split_seed=options.split_seed,
            splits_sha256=assignment.sha256,
        )
        write_index(index, assignment.videos, origin=origin)
        missing = missing or index.with_suffix(".missing.csv")
    if missing is not None:
        from deepfake_detect.data.failures import write_missing

        write_missing(missing, listing.missing)
    return DatasetReport(layout.name, layout.dataset, evidence, listing, assignment, index, missing)
