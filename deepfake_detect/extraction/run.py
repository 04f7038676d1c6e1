"""All videos of a listing, in one process or several; what an earlier run completed is skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deepfake_detect.data.failures import NO_FACE
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.device import choose_device, keep_freed_memory
from deepfake_detect.errors import DatasetLayoutError, OptionError, WorkerError
from deepfake_detect.extraction.config import ExtractionConfig
from deepfake_detect.extraction.engines import in_streams, make_extractor
from deepfake_detect.extraction.person import LARGEST
from deepfake_detect.extraction.remote import Remote, fetch_ended, fetch_index, publish, publish_summaries
from deepfake_detect.extraction.store import assemble, failure_path, index_path, is_done, open_folder
from deepfake_detect.extraction.video import Job, VideoExtraction
from deepfake_detect.io.files import file_lock, make_folder, read_json
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import DatasetVideo
from deepfake_detect.work import Engine, RayOptions, TaskFailure, map_tasks, ray_cluster


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
    cluster: RayOptions | None = None,
    remote: Remote | None = None,
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
        cluster: Where videos are read by the workers of a Ray cluster, in place of ``num_workers``.
            All its machines need the videos and ``out`` under the same paths. The crops and the
            manifest are the same; a video that three workers died of is written down as failed.
        remote: Which of videos and crops are behind a URL. ``out`` is then a scratch folder here that
            ends up with manifest and index alone, and the others are the same as without.
        show_progress: Whether to draw a progress bar.

    Returns:
        Counts, and the videos that could not be read.

    Raises:
        OptionError: ``out`` holds crops cut otherwise, or an option is out of range.
        DatasetLayoutError: A video's id would lead out of ``out``, or is hidden or given twice.
        OutputError: ``out`` or the URL cannot be written to, or another extraction holds ``out``.
        WorkerError: A worker process died; on a cluster, none comes up.
    """
    if num_workers < 1:
        raise OptionError("num_workers", f"is {num_workers}", "must be 1 or more")
    _check_ids(videos)
    with file_lock(make_folder(out), what="extraction"):
        run = _Run(videos, out, config, num_workers, device, cluster, remote or Remote())
        with nullcontext() if cluster is None else ray_cluster(cluster):
            return run.extract_missing(show_progress=show_progress)


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


@dataclass(frozen=True)
class _Run:
    """An extraction whose options are checked."""

    videos: Sequence[DatasetVideo]
    out: Path
    config: ExtractionConfig
    num_workers: int
    device: str
    cluster: RayOptions | None
    remote: Remote

    def extract_missing(self, *, show_progress: bool) -> ExtractionReport:
        there = None if self.remote.out is None else fetch_index(self.remote.out, self.out)
        open_folder(self.out, self.config)
        jobs = [
            Job(video, self.out, self.config)
            for video in self.videos
            if not is_done(self.out, video, there=there)
        ]
        num_done = len(self.videos) - len(jobs)
        keep_freed_memory()  # a new frame's pages, asked of the system, cost a tenth of reading the frame
        try:
            with progress_bar(enabled=show_progress) as progress:
                task = progress.add_task("videos", total=len(self.videos), completed=num_done, note="")
                for name in self._ends(jobs):
                    progress.update(task, advance=1, note=name)
        finally:
            self._sum_up([job.video for job in jobs])
        return _report(self.videos, self.out, self.config, num_done)

    def _ends(self, jobs: Sequence[Job]) -> Iterator[str]:
        """Extract; yield ids as videos end."""
        is_on_gpu = self.cluster is None and choose_device(self.device).type == "cuda"
        if is_on_gpu and self.remote == Remote():
            # Streams of one process share the detector's batches.
            yield from in_streams(jobs, self.config, self.num_workers, self.device)
            return
        engine: Engine = "processes" if self.num_workers > 1 and not is_on_gpu else "here"
        if self.cluster is not None:
            engine = "ray"
        make_worker = partial(make_extractor, self.config, self.device, self.remote)
        num_workers = self.num_workers if self.cluster is None else self.cluster.num_workers
        for job, result in map_tasks(
            jobs, make_worker, engine=engine, num_workers=num_workers, ray=self.cluster
        ):
            if isinstance(result, TaskFailure):
                self._write_failure(job, result)
            yield job.video.video_id

    def _write_failure(self, job: Job, failure: TaskFailure) -> None:
        cause = f"crashed {failure.num_attempts} workers ({failure.cause})"
        VideoExtraction(job).end(WorkerError(job.video.path, cause, "try it alone"))
        if self.remote.out is not None:
            publish(self.remote.out, job)

    def _sum_up(self, tried: Sequence[DatasetVideo]) -> None:
        if self.remote.out is not None:
            fetch_ended(self.remote.out, self.out, tried)
        assemble(self.out, self.config, self.videos)
        if self.remote.out is not None:
            publish_summaries(self.remote.out, self.out)


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
