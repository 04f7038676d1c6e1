"""How the videos of a run are worked through: here, in processes, or on a cluster."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import TypeAlias

from deepfake_detect.device import choose_device, keep_freed_memory, limit_threads
from deepfake_detect.errors import WorkerError
from deepfake_detect.extraction.config import ExtractionConfig
from deepfake_detect.extraction.pipeline import extract_videos
from deepfake_detect.extraction.remote import Remote, RemoteExtractor
from deepfake_detect.extraction.video import Job
from deepfake_detect.faces import FaceDetector
from deepfake_detect.work import Lost, RayOptions, map_on_ray

_GPU_RUN_LENGTH = 8
Extractor: TypeAlias = Callable[[Job], None]
"""What extracts a video: whatever is wrong with it is written down."""


def in_streams(jobs: Sequence[Job], config: ExtractionConfig, num_streams: int, device: str) -> Iterator[str]:
    return extract_videos(
        jobs,
        detector=_face_detector(config, device),
        num_streams=num_streams,
        run_length=_GPU_RUN_LENGTH if choose_device(device).type == "cuda" else 1,
    )


def one_by_one(jobs: Sequence[Job], worker: Extractor) -> Iterator[str]:
    for job in jobs:
        worker(job)
        yield job.video.video_id


def in_processes(
    jobs: Sequence[Job], make_worker: Callable[[int | None], Extractor], num_workers: int
) -> Iterator[str]:
    """Run a video a job, each in a process of its own pool; yield ids as videos end."""
    context = multiprocessing.get_context("spawn")  # forking after torch has threads deadlocks
    threads = max(1, (os.cpu_count() or 1) // num_workers)
    waiting = iter(jobs)
    with ProcessPoolExecutor(num_workers, context, start_worker, (threads,)) as pool:
        try:
            # Few jobs are handed over at a time, so that an interrupt ends the run soon.
            running = {
                pool.submit(_extract_one, job, make_worker) for job in islice(waiting, 2 * num_workers)
            }
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    running |= {pool.submit(_extract_one, job, make_worker) for job in islice(waiting, 1)}
                    yield future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "extraction", "a worker process died", "run again with fewer --workers (memory?) to go on"
            ) from error


def _extract_one(job: Job, make_worker: Callable[[int | None], Extractor]) -> str:
    make_worker(None)(job)
    return job.video.video_id


def on_cluster(
    jobs: Sequence[Job], make_worker: Callable[[], Extractor], cluster: RayOptions
) -> Iterator[tuple[Job, WorkerError | None]]:
    """Run a video a task on a cluster that was joined; yield jobs as they end, and why one is lost."""
    for job, result in map_on_ray(jobs, make_worker, cluster):
        error = None
        if isinstance(result, Lost):
            cause = f"{result.num_attempts} workers died of it ({result.cause})"
            error = WorkerError(job.video.path, cause, "try it alone")
        yield job, error


def make_extractor(
    config: ExtractionConfig, device: str, remote: Remote, num_threads: int | None
) -> Extractor:
    """Return what extracts one video after the other in this process.

    Args:
        config: How to cut.
        device: Where the face networks run.
        remote: Which places are behind URLs.
        num_threads: That the process computes with from now on; ``None`` leaves them.
    """
    if num_threads is not None:
        keep_freed_memory()
        limit_threads(num_threads)
    extract = partial(_extract, _face_detector(config, device))
    return extract if remote == Remote() else RemoteExtractor(extract, remote)


def _extract(detector: FaceDetector | None, job: Job) -> None:
    for _ in extract_videos([job], detector=detector):
        pass


def _face_detector(config: ExtractionConfig, device: str) -> FaceDetector | None:
    return None if config.already_cropped else FaceDetector(device=device, min_face=config.min_face)


def start_worker(num_threads: int) -> None:
    """Set up a process of a pool, which ends when the main process does."""
    keep_freed_memory()
    limit_threads(num_threads)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this worker when the main process is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
