"""A whole dataset: find its videos, extract their faces, write the manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from deepfake_detect.data.datasets import DatasetReport, read_dataset
from deepfake_detect.data.failures import missing_path, read_failures, write_failures
from deepfake_detect.data.index import read_index
from deepfake_detect.data.layouts import recognize_layout
from deepfake_detect.data.manifest import MANIFEST_NAME
from deepfake_detect.data.options import ReadingOptions
from deepfake_detect.errors import OptionError
from deepfake_detect.extraction.config import ExtractionConfig, FaceRuntime, RunOptions
from deepfake_detect.extraction.remote import below, local_folders
from deepfake_detect.extraction.run import ExtractionReport, extract_videos
from deepfake_detect.io.files import make_folder
from deepfake_detect.options import option_fields
from deepfake_detect.records import DatasetVideo
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits
from deepfake_detect.work import RayOptions

_MAX_DEFAULT_WORKERS = 8
# Datasets with several compressions of the same videos: by default the one most papers train on.
_COMPRESSED_LAYOUTS = ("ffpp", "dfd")
_DEFAULT_COMPRESSION = "c23"


def extract_faces(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: ExtractionConfig | None = None,
    *,
    reading: ReadingOptions | None = None,
    where: str | None = RunOptions.where,
    num_workers: int | None = RunOptions.num_workers,
    runtime: FaceRuntime = RunOptions.runtime,
    device: str = RunOptions.device,
    limits: DecodingLimits = DEFAULT_LIMITS,
    cluster: RayOptions | None = None,
    on_dataset: Callable[[DatasetReport], None] | None = None,
    show_progress: bool = True,
) -> ExtractionReport:
    """Extract the faces of a dataset's videos and write a manifest of the crops.

    The output folder contains the crops, ``manifest.parquet`` with one row per crop, ``failures.csv`` with
    the videos without crops, and ``missing.csv`` with the videos of the dataset that are not in ``root``.
    Calling it again processes only what is missing, so an interrupted run resumes.

    Args:
        root: Folder of the dataset as downloaded, its URL, a CSV file, or an index of videos
            (``.parquet``, see :func:`index_dataset`).
        out: Folder for crops and manifest, or its URL.
        config: How to make crops; ``None`` means the defaults of :class:`ExtractionConfig`.
        reading: Which videos of a dataset's folder to read and how to split them; the defaults of
            :class:`ReadingOptions` when ``None``. FaceForensics++ and DeepFakeDetection default to the
            compression c23.
        where: For an index: SQL condition on its columns that videos must meet.
        num_workers: Videos processed at the same time, by a process each, or on a GPU by threads of one
            process; ``None`` is one per core, at most 8, or on Ray as many as there is room for.
        runtime: Runtime of the face detector: ``"torch"``, ``"onnx"`` (ONNX Runtime, on the CPU), or
            ``"auto"``: PyTorch on a GPU, else ONNX Runtime. Their boxes agree up to rounding; the
            manifest's column ``face_runtime`` records which was used.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        limits: Limits for decoding a video; one that exceeds them counts as failed.
        cluster: Ray cluster whose workers process the videos; all its machines need ``root`` and ``out``
            under the same paths.
        on_dataset: Called with what was found in a dataset's folder, before the extraction.
        show_progress: Whether to show a progress bar.

    Returns:
        Counts, and the videos that could not be read.

    Raises:
        OptionError: An option is not allowed, or ``out`` holds crops made with other settings.
        DatasetLayoutError: No layout fits ``root``, or it holds no video.
        DeviceError: There is no such device.
        OutputError: ``out`` cannot be written, or another extraction is writing there.
        WorkerError: Workers crash before they are ready.

    Example:
        >>> report = extract_faces("FaceForensics++", "crops")  # doctest: +SKIP
        >>> report.num_crops  # doctest: +SKIP
        191897
    """
    config = ExtractionConfig() if config is None else config
    with local_folders(root, out) as (folder, local_out, remote):
        videos = _videos(folder, local_out, reading or ReadingOptions(), where, on_dataset)
        if remote.videos is not None:
            videos = [below(video, folder) for video in videos]
        if num_workers is None and cluster is None:
            num_workers = min(_MAX_DEFAULT_WORKERS, os.cpu_count() or 1)
        return extract_videos(
            videos,
            local_out,
            config,
            num_workers=num_workers,
            runtime=runtime,
            device=device,
            limits=limits,
            cluster=cluster,
            remote=remote,
            show_progress=show_progress,
        )


def _videos(
    root: Path,
    out: Path,
    reading: ReadingOptions,
    where: str | None,
    on_dataset: Callable[[DatasetReport], None] | None,
) -> Sequence[DatasetVideo]:
    """Return the videos of an index or a dataset's folder; write those that are missing."""
    if root.suffix == ".parquet":
        return _videos_of_index(root, out, reading, where)
    if where is not None:
        raise OptionError("where", "is for an index of videos", "write one first with index_dataset")
    layout = reading.dataset or recognize_layout(root)[0].name
    if reading.compression is None and layout in _COMPRESSED_LAYOUTS:
        reading = replace(reading, compression=(_DEFAULT_COMPRESSION,))
    report = read_dataset(root, reading, missing=missing_path(out / MANIFEST_NAME))
    make_folder(out)
    if on_dataset is not None:
        on_dataset(report)
    return report.videos


def _videos_of_index(
    root: Path, out: Path, reading: ReadingOptions, where: str | None
) -> Sequence[DatasetVideo]:
    for field in option_fields(ReadingOptions):
        if getattr(reading, field.name) != field.default:
            raise OptionError(field.name, "is for a dataset's folder, not for an index", "omit it")
    index = read_index(root)
    chosen = index if where is None else index.where(where)
    make_folder(out)
    # Videos that the dataset lacks count against coverage, also when the index was made elsewhere.
    write_failures(missing_path(out / MANIFEST_NAME), read_failures(chosen))
    return chosen.videos()
