"""All videos of a listing, in one process or several; what an earlier run completed is skipped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deepfake_detect.data.failures import NO_FACE
from deepfake_detect.data.manifest import MANIFEST_NAME, read_manifest
from deepfake_detect.device import keep_freed_memory
from deepfake_detect.errors import DatasetLayoutError, OptionError, WorkerError
from deepfake_detect.extraction.config import ExtractionConfig, FaceRuntime
from deepfake_detect.extraction.engines import Extractor, choose_runtime, in_streams, make_extractor
from deepfake_detect.extraction.person import LARGEST
from deepfake_detect.extraction.remote import Remote, fetch_ended, fetch_index, publish, publish_summaries
from deepfake_detect.extraction.store import assemble, failure_path, index_path, is_done, open_folder
from deepfake_detect.extraction.video import Job, VideoExtraction
from deepfake_detect.io.files import file_lock, make_folder, read_json
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import DatasetVideo
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits
from deepfake_detect.work import Engine, RayOptions, TaskFailure, map_tasks, ray_cluster

_log = logging.getLogger(__name__)

_MAX_NAMED_FAILURES = 10


@dataclass(frozen=True)
class ExtractionReport:
    """The result of an extraction.

    Attributes:
        out: Folder or URL of crops and manifest.
        num_done_before: Videos that an earlier run completed.
        num_extracted: Videos that this run completed.
        num_without_face: Videos without a face in any sampled frame.
        num_failed: Videos that could not be read.
        num_without_mask: Videos whose mask could not be used, so that the largest person was kept.
        num_crops: Rows of the manifest.
        failures: (path, message) of the videos that could not be read.
    """

    out: str
    num_done_before: int
    num_extracted: int
    num_without_face: int
    num_failed: int
    num_without_mask: int
    num_crops: int
    failures: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """Return the counts as text."""
        lines = [
            f"{counted(self.num_extracted, 'video')} extracted, {self.num_done_before} done before, "
            f"{self.num_without_face} without a face, {self.num_failed} could not be read; "
            f"{counted(self.num_crops, 'crop')} in {self.out}/{MANIFEST_NAME}"
        ]
        if self.num_without_mask:
            lines.append(
                f"the masks of {counted(self.num_without_mask, 'video')} could not be used, so the largest "
                "person was kept (person_choice in the manifest)"
            )
        return lines

    def failure_lines(self) -> list[str]:
        """Return the first failures as text."""
        lines = [f"error: {path}: {message}" for path, message in self.failures[:_MAX_NAMED_FAILURES]]
        if self.num_failed > _MAX_NAMED_FAILURES:
            lines.append(f"... all {self.num_failed} are in {self.out}/failures.csv")
        return lines


def extract_videos(
    videos: Sequence[DatasetVideo],
    out: Path,
    config: ExtractionConfig,
    *,
    num_workers: int | None = 1,
    runtime: FaceRuntime = "auto",
    device: str = "cpu",
    limits: DecodingLimits = DEFAULT_LIMITS,
    cluster: RayOptions | None = None,
    remote: Remote | None = None,
    show_progress: bool = True,
) -> ExtractionReport:
    """Extract the faces of videos, skipping what an earlier run completed.

    Args:
        videos: The videos, such as those of an index.
        out: Folder to write.
        config: How crops are made.
        num_workers: Videos processed at the same time: by a process each on a CPU; on a GPU by threads of
            one process, which share the detector's batches; on Ray workers in all, ``None`` being as many
            as there is room for. Crops and manifest are the same. A video that crashes three workers
            counts as failed.
        runtime, device: What finds the faces, and where: see :func:`extract_faces`. On a cluster each
            worker chooses, by the GPUs it was given.
        limits: Limits for decoding a video; one that exceeds them counts as failed.
        cluster: Ray cluster whose workers process the videos. All its machines need the videos and
            ``out`` under the same paths.
        remote: Which of videos and crops are behind a URL; then ``out`` is a temporary folder, which ends
            up with manifest and index only.
        show_progress: Whether to show a progress bar.

    Returns:
        Counts, and the videos that could not be read.

    Raises:
        OptionError: ``out`` holds crops made with other settings, an option is out of range, or the
            runtime is not installed or lacks the device.
        DeviceError: There is no such device.
        DatasetLayoutError: A video's id leads out of ``out``, is hidden, or occurs twice.
        OutputError: ``out`` or the URL cannot be written, or another extraction is writing there.
        WorkerError: Workers crash before they are ready.
    """
    if num_workers is not None and num_workers < 1:
        raise OptionError("num_workers", f"is {num_workers}", "must be 1 or more")
    _check_ids(videos)
    if cluster is None:
        runtime, device = choose_runtime(runtime, device)
    remote, config = remote or Remote(), config.resolved()
    joined = nullcontext() if cluster is None else ray_cluster(cluster)
    with file_lock(make_folder(out), what="extraction"), joined:
        there = None if remote.out is None else fetch_index(remote.out, out)
        open_folder(out, config)
        jobs = [Job(video, out, config, limits) for video in videos if not is_done(out, video, there=there)]
        num_done = len(videos) - len(jobs)
        _log.info("%d videos to extract, %d done before", len(jobs), num_done)
        keep_freed_memory()  # page faults of a new frame cost a tenth of the time of reading it
        if device.startswith("cuda") and cluster is None and remote == Remote():
            ends = in_streams(jobs, config, num_workers or 1, runtime, device)
        else:
            make_worker = partial(make_extractor, config, runtime, device, remote)
            ends = _in_workers(jobs, make_worker, num_workers, device, cluster, remote)
        try:
            with closing(ends), progress_bar(enabled=show_progress) as progress:
                task = progress.add_task("videos", total=len(videos), completed=num_done, note="")
                for name in ends:
                    progress.update(task, advance=1, note=name)
                    _log.info("extracted %s", name)
        finally:
            if remote.out is not None:
                fetch_ended(remote.out, out, [job.video for job in jobs])
            assemble(out, config, videos)
            if remote.out is not None:
                publish_summaries(remote.out, out)
        return _report(str(out) if remote.out is None else remote.out.url, videos, out, config, num_done)


def _check_ids(videos: Sequence[DatasetVideo]) -> None:
    """Check that each id is a path of its own below the output folder, where its crops go."""
    seen = set[str]()
    for video in videos:
        name = video.video_id
        if name in seen:
            cause = "occurs twice"
        elif any(part == "" or part.startswith(".") for part in name.split("/")):
            cause = "has empty or hidden parts, or points outside the folder"
        else:
            seen.add(name)
            continue
        raise DatasetLayoutError(video.path, f"its id {name!r} {cause}", "rename the video, or omit it")


def _in_workers(
    jobs: Sequence[Job],
    make_worker: Callable[[], Extractor],
    num_workers: int | None,
    device: str,
    cluster: RayOptions | None,
    remote: Remote,
) -> Generator[str, None, None]:
    """Extract, each video with one of several workers; yield ids as videos end."""
    engine: Engine = "here" if cluster is None else "ray"
    if cluster is None and (num_workers or 1) > 1 and not device.startswith("cuda"):
        engine = "processes"
    for job, result in map_tasks(jobs, make_worker, engine=engine, num_workers=num_workers, ray=cluster):
        if isinstance(result, TaskFailure):
            cause = f"crashed {counted(result.num_attempts, 'worker')} ({result.cause})"
            VideoExtraction(job).end(WorkerError(job.video.path, cause, "try it alone"))
            if remote.out is not None:
                publish(remote.out, job)
        yield job.video.video_id


def _report(
    shown_out: str, videos: Sequence[DatasetVideo], out: Path, config: ExtractionConfig, num_done_before: int
) -> ExtractionReport:
    failures = [read_json(path) for path in (failure_path(out, video) for video in videos) if path.exists()]
    failed = [(one["path"], one["message"]) for one in failures if one["reason"] != NO_FACE]
    manifest = read_manifest(out)
    by_size = manifest.query(f"select distinct video_id from rows where person_choice = '{LARGEST}'")
    masked = {video.video_id for video in videos if video.mask_path is not None}
    without_mask = masked & set(by_size["video_id"].to_pylist()) if config.person == "auto" else ()
    return ExtractionReport(
        out=shown_out,
        num_done_before=num_done_before,
        num_extracted=sum(index_path(out, video).exists() for video in videos) - num_done_before,
        num_without_face=len(failures) - len(failed),
        num_failed=len(failed),
        num_without_mask=len(without_mask),
        num_crops=manifest.num_rows,
        failures=tuple(failed),
    )
