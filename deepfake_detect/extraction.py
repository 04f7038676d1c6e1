"""The long pipeline: a dataset's videos -> face crops and a manifest; resumable and parallel.

On disk, under the output folder:

    crops/<video_id>/<frame>_<track>.png   the crops, in the frame's own resolution
    index/<video_id>.parquet               one video's manifest rows, written after its crops
    index/<video_id>.failure.json          why a video gave no crops
    settings.json                          what the crops were cut with
    manifest.parquet, failures.csv         all of the index in one, rewritten at the end

A video counts as done once its index file stands, which is put in place in one step after its
crops; whatever kills the run loses at most the videos in progress, and the same command goes on.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detect.data.failures import FAILURE_COLUMNS, NO_FACE, failures_path, write_failures
from deepfake_detect.data.manifest import MANIFEST_NAME, MANIFEST_SCHEMA, rows_to_table, write_manifest
from deepfake_detect.errors import DeepfakeDetectError, ManifestError, OptionError, OutputError, WorkerError
from deepfake_detect.faces import (
    FaceDetector,
    check_geometry,
    confirmed_tracks,
    follow_faces,
    main_track,
)
from deepfake_detect.files import atomic_path, make_folder, only_one, read_json, write_json
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import CropGeometry, DatasetVideo, Face, Frame
from deepfake_detect.video import EvenlySpaced, find_sequence, read_frames, read_sequence

TrackChoice = Literal["main", "all"]


@dataclass(frozen=True)
class ExtractionConfig:
    """How crops are cut; written beside them, and the same for all of one folder.

    Attributes:
        num_frames: Evenly spaced frames taken of each video.
        geometry: Margin and alignment of the crops.
        min_face: Side in pixels of the smallest face looked for; ``None`` is a twelfth of the
            frame's shorter side.
        tracks: ``"main"`` keeps the person seen largest and longest, whom a dataset's label is
            about; ``"all"`` keeps everybody, bystanders under the video's label included.
        allow_truncated: Whether a video with missing pictures gives crops of those it has.
        already_cropped: Whether each frame is a face crop already, cut by the dataset's owners with
            ``geometry``; it is kept whole, and no face is looked for.
    """

    num_frames: int = 32
    geometry: CropGeometry = CropGeometry()
    min_face: float | None = None
    tracks: TrackChoice = "main"
    allow_truncated: bool = False
    already_cropped: bool = False


@dataclass(frozen=True)
class ExtractionReport:
    """What a run did.

    Attributes:
        num_done_before: Videos that were complete already.
        num_extracted: Videos this run completed.
        num_without_face: Videos of the listing in which no face was found.
        num_failed: Videos of the listing that could not be read.
        num_crops: Rows of the manifest.
        failures: (path, message) of the videos that could not be read.
    """

    num_done_before: int
    num_extracted: int
    num_without_face: int
    num_failed: int
    num_crops: int
    failures: tuple[tuple[str, str], ...]


def extract_dataset(
    videos: Sequence[DatasetVideo],
    out: Path,
    config: ExtractionConfig,
    *,
    num_workers: int = 1,
    device: str = "cpu",
    show_progress: bool = True,
) -> ExtractionReport:
    """Cut the faces of videos out, skipping what an earlier run completed.

    Args:
        videos: What to read, such as the videos of a dataset's listing or of an index.
        out: Folder to write.
        config: How to cut.
        num_workers: Processes; each takes a video at a time.
        device: Where the face networks run.
        show_progress: Whether to draw a progress bar.

    Returns:
        Counts, and the videos that could not be read.

    Raises:
        OptionError: ``out`` holds crops cut otherwise, or ``num_workers`` is below 1.
        WorkerError: A worker process died.
    """
    if num_workers < 1:
        raise OptionError("workers", f"is {num_workers}", "pass 1 or more")
    # Refused before hours of work, not in them:
    FaceDetector(min_face=config.min_face)
    EvenlySpaced(config.num_frames)
    check_geometry(config.geometry)
    with only_one(make_folder(out), what="extraction"):
        _open_folder(out, config)
        return _extract_missing(videos, out, config, num_workers, device, show_progress)


def _extract_missing(
    videos: Sequence[DatasetVideo],
    out: Path,
    config: ExtractionConfig,
    num_workers: int,
    device: str,
    show_progress: bool,
) -> ExtractionReport:
    todo = [video for video in videos if not _is_done(out, video)]
    jobs = [_Job(video, out, config, device) for video in todo]
    try:
        with progress_bar(enabled=show_progress) as progress:
            task = progress.add_task("videos", total=len(videos), completed=len(videos) - len(todo), note="")
            for name in _run_jobs(jobs, num_workers):
                progress.update(task, advance=1, note=name)
    finally:
        num_crops = _assemble(out, config)
    return _report(videos, out, len(videos) - len(todo), num_crops)


@dataclass(frozen=True)
class _Job:
    video: DatasetVideo
    out: Path
    config: ExtractionConfig
    device: str


def _run_jobs(jobs: Sequence[_Job], num_workers: int) -> Iterator[str]:
    """Run the jobs in any order; yield the name of each video as it ends."""
    if num_workers == 1:
        for job in jobs:
            yield _run_job(job)
        return
    context = multiprocessing.get_context("spawn")  # forking after torch has threads deadlocks
    threads = max(1, (os.cpu_count() or 1) // num_workers)
    waiting = iter(jobs)
    with ProcessPoolExecutor(num_workers, context, _start_worker, (threads,)) as pool:
        try:
            # Few jobs are handed over at a time, so that an interrupt ends the run soon.
            running = {pool.submit(_run_job, job) for job in islice(waiting, 2 * num_workers)}
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    running |= {pool.submit(_run_job, job) for job in islice(waiting, 1)}
                    yield future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "extraction", "a worker process died", "run again with fewer --workers (memory?) to go on"
            ) from error


def _start_worker(num_threads: int) -> None:
    import torch

    torch.set_num_threads(num_threads)
    cv2.setNumThreads(num_threads)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this worker when the main process is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_job(job: _Job) -> str:
    """Extract one video; whatever is wrong with it is recorded, and the next one goes on."""
    video = job.video
    try:
        rows = _extract_video(job)
    except OutputError:
        raise  # the output disk, not the video, is at fault
    except DeepfakeDetectError as error:
        _record_failure(job, type(error).__name__, f"{error.cause}; {error.remedy}")
    except Exception as error:  # one poison video must not end a run of days; it is written down
        _record_failure(job, type(error).__name__, str(error))
    else:
        if rows:
            _failure_path(job.out, video).unlink(missing_ok=True)
        else:
            _record_failure(job, NO_FACE, "no face was found in any sampled frame")
        _write_index(job.out, video, rows)
    return video.video_id


@dataclass(frozen=True, eq=False)
class _Crop:
    """One crop of a video; ``face`` is ``None`` where the owners cut it."""

    frame_index: int
    time_seconds: float
    track_id: int
    face: Face | None
    image: np.ndarray  # RGB uint8 (H, W, 3)

    @property
    def name(self) -> str:
        return f"{self.frame_index:06d}_{self.track_id:02d}.png"


def _extract_video(job: _Job) -> list[dict[str, Any]]:
    """Write a video's crops in one step; return its manifest rows."""
    folder = job.out / "crops" / job.video.video_id
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    frames = _open_frames(job)
    make_folder(partial)
    kept: list[_Crop] = []
    try:
        with closing(frames):
            for crop in _crops(job, frames):
                _write_png(partial / crop.name, crop.image)
                kept.append(replace(crop, image=_without_pixels(crop.image)))
        wanted = _wanted_tracks(kept, job.config)
        for crop in kept:
            if crop.track_id not in wanted:
                (partial / crop.name).unlink()
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [_row(job, crop) for crop in kept if crop.track_id in wanted]


def _open_frames(job: _Job) -> Generator[Frame, None, None]:
    sampling = EvenlySpaced(job.config.num_frames)
    sequence = find_sequence(job.video.path)
    if sequence is not None:
        return read_sequence(sequence, sampling)
    return read_frames(job.video.path, sampling=sampling, allow_truncated=job.config.allow_truncated)


def _crops(job: _Job, frames: Iterable[Frame]) -> Iterator[_Crop]:
    if job.config.already_cropped:
        for frame in frames:
            yield _Crop(frame.frame_index, frame.time_seconds, 0, None, frame.image)
        return
    detector = FaceDetector(device=job.device, min_face=job.config.min_face)
    for followed in follow_faces(frames, detector=detector, geometry=job.config.geometry):
        for one in followed.faces:
            yield _Crop(followed.frame_index, followed.time_seconds, one.track_id, one.face, one.crop)


def _wanted_tracks(crops: list[_Crop], config: ExtractionConfig) -> set[int]:
    if config.already_cropped:
        return {crop.track_id for crop in crops}
    faces = [(crop.track_id, crop.face) for crop in crops if crop.face is not None]
    people = confirmed_tracks((track_id, face.score) for track_id, face in faces)
    if config.tracks == "all":
        return people
    main = main_track((track_id, face) for track_id, face in faces if track_id in people)
    return set() if main is None else {main}


def _without_pixels(image: np.ndarray) -> np.ndarray:
    """Keep what tells the crop's sides: clips may be long."""
    return np.zeros((*image.shape[:2], 0), image.dtype)


def _write_png(path: Path, image: Any) -> None:
    # Not cv2.imwrite: on a full disk it reports success and leaves half a picture.
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(path, f"cannot be written ({error.strerror})", "make room, then go on") from error


def _row(job: _Job, crop: _Crop) -> dict[str, Any]:
    video, face = job.video, crop.face
    return {
        "dataset": video.dataset,
        "video_id": video.video_id,
        "method": video.method,
        "label": video.label,
        "split": video.split,
        "compression": video.compression,
        "target_id": video.target_id,
        "source_id": video.source_id,
        "frame_index": crop.frame_index,
        "time_seconds": None if math.isnan(crop.time_seconds) else crop.time_seconds,
        "track_id": crop.track_id,
        "box_xyxy": None if face is None else face.box_xyxy.tolist(),
        "landmarks_xy": None if face is None else face.landmarks_xy.reshape(-1).tolist(),
        "detection_score": None if face is None else face.score,
        "path": f"crops/{video.video_id}/{crop.name}",
        "native_size": max(crop.image.shape[:2]),
    }


def _index_path(out: Path, video: DatasetVideo) -> Path:
    return out / "index" / f"{video.video_id}.parquet"


def _failure_path(out: Path, video: DatasetVideo) -> Path:
    return out / "index" / f"{video.video_id}.failure.json"


def _write_index(out: Path, video: DatasetVideo, rows: list[dict[str, Any]]) -> None:
    with atomic_path(_index_path(out, video)) as temporary:
        pq.write_table(rows_to_table(rows), temporary)


def _record_failure(job: _Job, reason: str, message: str) -> None:
    # An earlier run's rows would name crops that this one could not make again.
    _index_path(job.out, job.video).unlink(missing_ok=True)
    values = {**vars(job.video), "path": str(job.video.path), "reason": reason, "message": message}
    write_json(_failure_path(job.out, job.video), {key: values[key] for key in FAILURE_COLUMNS})


def _is_done(out: Path, video: DatasetVideo) -> bool:
    """Whether the video's rows stand and every crop they name does too."""
    index = _index_path(out, video)
    if not index.is_file():
        return False
    try:
        paths = pq.read_table(index, columns=["path"], partitioning=None)["path"].to_pylist()
    except (pa.ArrowInvalid, OSError):
        return False  # damaged from outside: extracted anew
    return all((out / path).is_file() for path in paths)


def _open_folder(out: Path, config: ExtractionConfig) -> None:
    """Write the settings, or refuse a folder whose crops were cut otherwise."""
    path = out / "settings.json"
    wanted = json.loads(json.dumps(asdict(config)))
    if path.exists():
        stored = read_json(path)
        changed = [
            f"{key} {stored.get(key)} (now {value})"
            for key, value in wanted.items()
            if stored.get(key) != value
        ]
        if changed:
            raise OptionError(
                out, f"holds crops cut with {', '.join(changed)}", "pass another --out, or the same options"
            )
    else:
        write_json(path, wanted)
    for leftover in [*out.glob(".*.parquet"), *(out / "index").rglob(".*.parquet")]:
        leftover.unlink()  # a temporary file of a run that was killed


def _assemble(out: Path, config: ExtractionConfig) -> int:
    """Rewrite manifest.parquet and failures.csv from the index; return the number of crops."""
    index = out / "index"
    parts = [_read_part(path) for path in sorted(index.rglob("*.parquet")) if not path.name.startswith(".")]
    table = pa.concat_tables([MANIFEST_SCHEMA.empty_table(), *parts])
    write_manifest(out / MANIFEST_NAME, table, geometry=config.geometry)
    failures = [read_json(path) for path in sorted(index.rglob("*.failure.json"))]
    write_failures(failures_path(out / MANIFEST_NAME), failures)
    return int(table.num_rows)


def _read_part(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise ManifestError(path, f"is damaged ({error})", "delete it and run again") from error


def _report(
    videos: Sequence[DatasetVideo], out: Path, num_done_before: int, num_crops: int
) -> ExtractionReport:
    failures = [read_json(path) for path in (_failure_path(out, video) for video in videos) if path.exists()]
    failed = [(one["path"], one["message"]) for one in failures if one["reason"] != NO_FACE]
    return ExtractionReport(
        num_done_before=num_done_before,
        num_extracted=sum(_index_path(out, video).exists() for video in videos) - num_done_before,
        num_without_face=len(failures) - len(failed),
        num_failed=len(failed),
        num_crops=num_crops,
        failures=tuple(failed),
    )
