"""All videos of a listing, in one process or several; what an earlier run completed is skipped."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import torch

from deepfake_detect.data.failures import NO_FACE
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.device import choose_device, keep_freed_memory
from deepfake_detect.errors import DatasetLayoutError, OptionError, WorkerError
from deepfake_detect.extraction.config import ExtractionConfig, check_config
from deepfake_detect.extraction.person import LARGEST
from deepfake_detect.extraction.pipeline import extract_videos
from deepfake_detect.extraction.store import assemble, failure_path, index_path, is_done, open_folder
from deepfake_detect.extraction.video import Job
from deepfake_detect.faces import FaceDetector
from deepfake_detect.files import make_folder, only_one, read_json
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import DatasetVideo

_GPU_RUN_LENGTH = 8


@dataclass(frozen=True)
class ExtractionReport:
    """What a run did.

    Attributes:
        num_done_before: Videos that were complete already.
        num_extracted: Videos this run completed.
        num_without_face: Videos of the listing in which no face was found.
        num_failed: Videos of the listing that could not be read.
        num_without_mask: Videos of the listing whose mask could not be used, so that the largest
            person was kept.
        num_crops: Rows of the manifest.
        failures: (path, message) of the videos that could not be read.
    """

    num_done_before: int
    num_extracted: int
    num_without_face: int
    num_failed: int
    num_without_mask: int
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
        num_workers: Videos read at the same time: by a process each on the CPU; on CUDA by threads
            of one process, whose frames share the detector's batches.
        device: Where the face networks run.
        show_progress: Whether to draw a progress bar.

    Returns:
        Counts, and the videos that could not be read.

    Raises:
        OptionError: ``out`` holds crops cut otherwise, or an option is out of range.
        DatasetLayoutError: A video's id would lead out of ``out``, or is hidden or given twice.
        OutputError: ``out`` cannot be written to, or another extraction holds it.
        WorkerError: A worker process died.
    """
    if num_workers < 1:
        raise OptionError("workers", f"is {num_workers}", "pass 1 or more")
    check_config(config)
    _check_ids(videos)
    with only_one(make_folder(out), what="extraction"):
        open_folder(out, config)
        return _extract_missing(videos, out, config, num_workers, device, show_progress)


def _check_ids(videos: Sequence[DatasetVideo]) -> None:
    """Refuse ids that are no place of their own below the output folder: crops are put there."""
    seen = set[str]()
    for video in videos:
        parts = video.video_id.split("/")
        if video.video_id in seen or any(part == "" or part.startswith(".") for part in parts):
            cause = "is given twice" if video.video_id in seen else "has empty, hidden or climbing parts"
            raise DatasetLayoutError(
                video.path, f"its id {video.video_id!r} {cause}", "rename it, or leave it out"
            )
        seen.add(video.video_id)


def _extract_missing(
    videos: Sequence[DatasetVideo],
    out: Path,
    config: ExtractionConfig,
    num_workers: int,
    device: str,
    show_progress: bool,
) -> ExtractionReport:
    jobs = [Job(video, out, config) for video in videos if not is_done(out, video)]
    num_done = len(videos) - len(jobs)
    keep_freed_memory()  # a new frame's pages, asked of the system, cost a tenth of reading the frame
    is_shared = num_workers == 1 or choose_device(device).type == "cuda"
    extract = _in_this_process if is_shared else _in_processes
    try:
        with progress_bar(enabled=show_progress) as progress:
            task = progress.add_task("videos", total=len(videos), completed=num_done, note="")
            for name in extract(jobs, config, num_workers, device):
                progress.update(task, advance=1, note=name)
    finally:
        assemble(out, config, videos)
    return _report(videos, out, config, num_done)


def _in_this_process(
    jobs: Sequence[Job], config: ExtractionConfig, num_streams: int, device: str
) -> Iterator[str]:
    return extract_videos(
        jobs,
        detector=_detector(config, device),
        num_streams=num_streams,
        run_length=_GPU_RUN_LENGTH if choose_device(device).type == "cuda" else 1,
    )


def _detector(config: ExtractionConfig, device: str) -> FaceDetector | None:
    return None if config.already_cropped else FaceDetector(device=device, min_face=config.min_face)


def _in_processes(
    jobs: Sequence[Job], config: ExtractionConfig, num_workers: int, device: str
) -> Iterator[str]:
    """Run a video a job, each in a process of its own pool; yield ids as videos end."""
    context = multiprocessing.get_context("spawn")  # forking after torch has threads deadlocks
    threads = max(1, (os.cpu_count() or 1) // num_workers)
    waiting = iter(jobs)
    with ProcessPoolExecutor(num_workers, context, start_worker, (threads,)) as pool:
        try:
            # Few jobs are handed over at a time, so that an interrupt ends the run soon.
            running = {pool.submit(_extract_one, job, device) for job in islice(waiting, 2 * num_workers)}
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    running |= {pool.submit(_extract_one, job, device) for job in islice(waiting, 1)}
                    yield future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "extraction", "a worker process died", "run again with fewer --workers (memory?) to go on"
            ) from error


def _extract_one(job: Job, device: str) -> str:
    (name,) = extract_videos([job], detector=_detector(job.config, device))
    return name


def start_worker(num_threads: int) -> None:
    """Set up a process of a pool, which ends when the main process does."""
    keep_freed_memory()
    torch.set_num_threads(num_threads)
    cv2.setNumThreads(num_threads)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this worker when the main process is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _report(
    videos: Sequence[DatasetVideo], out: Path, config: ExtractionConfig, num_done_before: int
) -> ExtractionReport:
    failures = [read_json(path) for path in (failure_path(out, video) for video in videos) if path.exists()]
    failed = [(one["path"], one["message"]) for one in failures if one["reason"] != NO_FACE]
    manifest = read_manifest(out)
    by_size = manifest.query(f"select distinct video_id from rows where person_choice = '{LARGEST}'")
    masked = {video.video_id for video in videos if video.mask_path is not None}
    without_mask = masked & set(by_size["video_id"].to_pylist()) if config.person == "auto" else ()
    return ExtractionReport(
        num_done_before=num_done_before,
        num_extracted=sum(index_path(out, video).exists() for video in videos) - num_done_before,
        num_without_face=len(failures) - len(failed),
        num_failed=len(failed),
        num_without_mask=len(without_mask),
        num_crops=manifest.num_rows,
        failures=tuple(failed),
    )
