"""Many clips, one item per source in order: here, in processes, or on a Ray cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deepfake_detect.errors import OptionError, WorkerError
from deepfake_detect.io.scratch import scratch_folder
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import InferencePrecision
from deepfake_detect.runtimes.load import DEFAULT_DETECTOR
from deepfake_detect.runtimes.options import Runtime
from deepfake_detect.scoring.clip_scorer import BatchItem, ClipScorer
from deepfake_detect.scoring.detector import DetectorsInput, listed, ready_detectors
from deepfake_detect.scoring.options import BatchOptions, ScoringOptions, Segments
from deepfake_detect.scoring.outputs import ClipFiles, JsonFile, check_outputs, is_single_clip, plan_files
from deepfake_detect.scoring.pipeline import Detector
from deepfake_detect.scoring.sources import STANDARD_INPUT, ClipSource, find_clips
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits
from deepfake_detect.work import RayOptions, TaskFailure, map_tasks
from deepfake_detect.work import report as report_progress

if TYPE_CHECKING:
    from deepfake_detect.progress import Progress, TaskID
    from deepfake_detect.scoring.results import ResultsTable

BatchEngine = Literal["auto", "here", "processes", "ray"]
Source = str | os.PathLike[str]
_MAX_WORKERS = 4
_MIN_CLIPS_FOR_PROCESSES = 3
_Task = tuple[int, ClipSource]
_Step = tuple[str, int | None, int | None, str]


def score_videos(
    sources: Source | Iterable[Source],
    *,
    detector: DetectorsInput = ScoringOptions.detector,
    fusion: Source | None = ScoringOptions.fusion,
    runtime: Runtime = ScoringOptions.runtime,
    device: str = ScoringOptions.device,
    precision: InferencePrecision = ScoringOptions.precision,
    num_frames: int = ScoringOptions.num_frames,
    aggregation_rule: str | None = ScoringOptions.aggregation_rule,
    min_face: float | None = ScoringOptions.min_face,
    allow_truncated: bool = ScoringOptions.allow_truncated,
    segments: Segments = ScoringOptions.segments,
    limits: DecodingLimits = DEFAULT_LIMITS,
    max_download_mb: float = ScoringOptions.max_download_mb,
    workers: int | None = BatchOptions.workers,
    engine: BatchEngine = "auto",
    ray: RayOptions | None = None,
    results: Source | None = BatchOptions.results,
    retry_failed: bool = BatchOptions.retry_failed,
    out: Source | None = BatchOptions.out,
    json: Source | None = BatchOptions.json,
    report: Source | None = BatchOptions.report,
    annotate: Source | None = BatchOptions.annotate,
    allow_url: bool = BatchOptions.allow_url,
    show_progress: bool = False,
) -> Generator[BatchItem, None, None]:
    """Score clips; yield one item per clip, in order. Failures are items too, not exceptions.

    Options are checked immediately; the detector is loaded when the first item is requested, and clips are
    scored as items are requested. Closing the generator stops the run.

    Args:
        sources: Files, folders (all videos and images in them and below), URLs, or ``"-"`` for a file
            on standard input; one or several.
        detector: A loaded detector, which scores in this process, or anything that :func:`load_detector`
            accepts; or several, each of which scores every clip.
        fusion: For several, see :class:`DetectorPanel`.
        runtime, device, precision: See :func:`load_detector`.
        num_frames, aggregation_rule, min_face, allow_truncated, segments, limits: See
            :meth:`Detector.score_video`.
        max_download_mb: Largest clip to download, in MB (2^20 bytes).
        workers: Clips scored at a time, one process each; ``None`` is the number of cores, at most 4,
            or 1 for fewer than 3 clips and on a GPU. On Ray: workers in all.
        engine: ``"here"``, ``"processes"`` or ``"ray"``; ``"auto"`` is here for one worker, processes
            for more.
        ray: The cluster, for engine ``"ray"``; its machines share the folders of clips and detector.
        results: Table (.csv or .parquet) with one row per clip, written as clips finish. Clips that are
            already in it are not scored again; their items have no result, and an error if they failed.
        retry_failed: Score the clips that failed in the table again.
        out: Folder for NAME.json, NAME_timeline.png and NAME_annotated.mp4 of each clip.
        json: JSON file: an object for a single clip, a list otherwise.
        report: HTML report on one clip.
        annotate: MP4 of one clip with boxes and probabilities.
        allow_url: Whether clips given as URLs may be downloaded.
        show_progress: Draw progress bars on standard error, if that is a terminal.

    Yields:
        The result of each clip.

    Raises:
        CheckpointError, DeviceError, OptionError: The detector cannot be loaded, or an option is wrong.
        OutputError: The table or the JSON file cannot be written.

    Example:
        >>> for item in score_videos(["examples/demo.mp4", "absent.mp4"], num_frames=2):
        ...     print(item.source, item.error)
        examples/demo.mp4 None
        absent.mp4 absent.mp4: there is no such file; check the path
    """
    wanted = listed(detector)
    loaded = None
    if any(isinstance(one, Detector) for one in wanted):
        loaded = ready_detectors(wanted, fusion=fusion, runtime=runtime, device=device, precision=precision)
    paths = () if loaded is not None else tuple(one for one in wanted if not isinstance(one, Detector))
    named = tuple(DEFAULT_DETECTOR if one is None else os.fspath(one) for one in paths)
    run = _Run(
        names=[os.fspath(one) for one in ([sources] if isinstance(sources, (str, os.PathLike)) else sources)],
        detector=loaded,
        scoring=ScoringOptions(
            detector=None if named in ((), (DEFAULT_DETECTOR,)) else named,
            fusion=None if loaded is not None else _path(fusion),
            runtime=runtime,
            device=device,
            precision=precision,
            num_frames=num_frames,
            aggregation_rule=aggregation_rule,
            min_face=min_face,
            allow_truncated=allow_truncated,
            segments=segments,
            max_download_mb=max_download_mb,
        ),
        limits=limits,
        batch=BatchOptions(
            results=_path(results),
            retry_failed=retry_failed,
            out=_path(out),
            json=_path(json),
            report=_path(report),
            annotate=_path(annotate),
            workers=workers,
            allow_url=allow_url,
        ),
        engine=engine,
        ray=RayOptions() if ray is None else ray,
        show_progress=show_progress,
    )
    run.check()
    return run.items()


def default_num_workers(num_clips: int, num_cores: int) -> int:
    """Return how many processes are worth it: starting one takes as long as two clips of ten seconds.

    Example:
        >>> [default_num_workers(clips, 8) for clips in (1, 2, 3, 99)]
        [1, 1, 3, 4]
    """
    return 1 if num_clips < _MIN_CLIPS_FOR_PROCESSES else min(num_clips, num_cores, _MAX_WORKERS)


@dataclass(frozen=True)
class _Run:
    """One call of :func:`score_videos`."""

    names: Sequence[str]
    detector: Detector | None
    scoring: ScoringOptions
    limits: DecodingLimits
    batch: BatchOptions
    engine: BatchEngine
    ray: RayOptions
    show_progress: bool

    def check(self) -> None:
        """Raise OptionError for options that contradict one another."""
        check_outputs(self.batch)
        if not self.names:
            raise OptionError("sources", "is empty", "name a file, a folder or a URL")
        if self.engine not in ("auto", "here", "processes", "ray"):
            raise OptionError("engine", f"is {self.engine!r}", "must be one of auto, here, processes, ray")
        if self.engine == "ray" and STANDARD_INPUT in self.names:
            raise OptionError(STANDARD_INPUT, "is read on this machine, not on a cluster", "name a file")
        is_elsewhere = self.engine in ("processes", "ray") or (self.batch.workers or 1) > 1
        if self.detector is not None and is_elsewhere:
            raise OptionError(
                "detector", "is loaded in this process, and the workers need their own", "pass its path"
            )

    def items(self) -> Generator[BatchItem, None, None]:
        """Yield one item per clip, in order."""
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder())
            sources = find_clips(
                self.names, scratch=scratch, allow_url=self.batch.allow_url, leave_out=self.batch.out
            )
            _check_downloads(sources)
            files = plan_files(self.batch, sources)
            detector = self._ready_detector()
            table = self._table(detector)
            if table is not None:
                stack.enter_context(table)
            items = {
                position: BatchItem(source.name, error=table.failure(source), is_resumed=True)
                for position, source in enumerate(sources)
                if table is not None and not self._needs(table, source, files)
            }
            tasks = [(position, one) for position, one in enumerate(sources) if position not in items]
            json = JsonFile(
                self.batch.json, is_single=is_single_clip(self.names, [one.name for one in sources])
            )
            scored = stack.enter_context(closing(self._scored(tasks, detector, files, scratch)))
            for position in range(len(sources)):
                while position not in items:
                    (number, source), item = next(scored)
                    items[number] = item
                    if table is not None:
                        table.add(source, item)  # at once: a run that is killed keeps it
                item = items.pop(position)
                if item.result is not None:
                    json.add(item.to_dict())
                yield item
            json.write()

    def _ready_detector(self) -> Detector:
        options = self.scoring
        detector = self.detector or _load(options)
        detector.check_options(
            num_frames=options.num_frames,
            aggregation_rule=options.aggregation_rule,
            min_face=options.min_face,
        )
        return detector

    def _table(self, detector: Detector) -> ResultsTable | None:
        if self.batch.results is None:
            return None
        from deepfake_detect.scoring.results import ResultsTable, run_settings

        return ResultsTable(self.batch.results, run_settings(self.scoring, detector))

    def _needs(self, table: ResultsTable, source: ClipSource, files: dict[str, ClipFiles]) -> bool:
        wanted = files[source.name].paths() if source.name in files else []
        return table.needs(source, retry_failed=self.batch.retry_failed, files=wanted)

    def _scored(
        self, tasks: Sequence[_Task], detector: Detector, files: dict[str, ClipFiles], scratch: Path
    ) -> Generator[tuple[_Task, BatchItem], None, None]:
        """Yield the items of clips as they end."""
        engine, num_workers = self._engine(len(tasks), detector)
        has_file_facts = self.batch.results is not None
        if engine == "here":
            scorer = ClipScorer(
                detector, self.scoring, scratch, files, has_file_facts, _report_step, self.limits
            )
            make_worker = partial(_ClipWorker, scorer)
        else:
            threads = self.ray.cpus_per_worker if engine == "ray" else 1
            place = None if engine == "ray" else scratch  # of another machine
            make_worker = partial(
                _make_worker,
                self.scoring,
                self.limits,
                place,
                files,
                has_file_facts,
                num_threads=threads,
            )
        with progress_bar(enabled=self.show_progress) as progress:
            display = _Display(progress, len(tasks))
            results = map_tasks(
                tasks,
                make_worker,
                engine=engine,
                num_workers=num_workers,
                num_threads=1,
                ray=self.ray,
                on_progress=display.update,
                on_end=display.end,
            )
            with closing(results):
                for task, result in results:
                    yield task, _lost(task[1], result) if isinstance(result, TaskFailure) else result

    def _engine(
        self, num_clips: int, detector: Detector
    ) -> tuple[Literal["here", "processes", "ray"], int | None]:
        if self.engine == "ray" or num_clips == 0:
            return ("ray" if num_clips else "here"), self.batch.workers
        if self.engine == "here" or self.detector is not None:
            return "here", 1
        num_cores = 1 if detector.is_on_gpu else os.cpu_count() or 1
        num_workers = self.batch.workers or default_num_workers(num_clips, num_cores)
        return ("here" if self.engine == "auto" and num_workers == 1 else "processes"), num_workers


@dataclass(frozen=True)
class _ClipWorker:
    """Scores the clips of tasks."""

    scorer: ClipScorer

    def __call__(self, task: _Task) -> BatchItem:
        return self.scorer.score(task[1])


def _make_worker(
    options: ScoringOptions,
    limits: DecodingLimits,
    scratch: Path | None,
    files: dict[str, ClipFiles],
    has_file_facts: bool,
    *,
    num_threads: int,
) -> _ClipWorker:
    """Load a detector in a process of its own; ``scratch`` is that machine's temporary folder if ``None``."""
    detector = _load(options, num_threads=num_threads)
    place = Path(tempfile.gettempdir()) if scratch is None else scratch
    return _ClipWorker(ClipScorer(detector, options, place, files, has_file_facts, _report_step, limits))


def _load(options: ScoringOptions, *, num_threads: int | None = None) -> Detector:
    return ready_detectors(
        options.detector,
        fusion=options.fusion,
        runtime=options.runtime,
        device=options.device,
        precision=options.precision,
        num_threads=num_threads,
    )


def _report_step(step: str, done: int | None, total: int | None, note: str) -> None:
    report_progress((step, done, total, note))


def _lost(source: ClipSource, failure: TaskFailure) -> BatchItem:
    attempts = counted(failure.num_attempts, "worker")
    cause = f"{attempts} crashed while scoring it ({failure.cause})"
    return BatchItem(source.name, error=WorkerError(source.name, cause, "score it alone (memory?)"))


class _Display:
    """A bar for all clips, if there are several, and one for each clip that is being scored."""

    def __init__(self, progress: Progress, num_clips: int) -> None:
        self._progress = progress
        self._clips = progress.add_task("clips", total=num_clips, note="", visible=num_clips > 1)
        self._running: dict[int, TaskID] = {}
        self._step: dict[int, str] = {}

    def update(self, task: _Task, value: _Step) -> None:
        """Show a step of a clip."""
        position, source = task
        step, done, total, note = value
        if self._step.get(position) != step:
            self._remove(position)
            name = f"{step} {Path(source.name).name}"
            self._running[position] = self._progress.add_task(name, total=None, note="")
            self._step[position] = step
        self._progress.update(self._running[position], completed=done, total=total, note=note)

    def end(self, task: _Task) -> None:
        """Count a finished clip."""
        position, source = task
        self._remove(position)
        self._progress.update(self._clips, advance=1, note=Path(source.name).name)

    def _remove(self, position: int) -> None:
        self._step.pop(position, None)
        if position in self._running:
            self._progress.remove_task(self._running.pop(position))


def _check_downloads(sources: Sequence[ClipSource]) -> None:
    urls = [source.name for source in sources if source.is_url]
    if urls:
        from deepfake_detect.scoring.fetch import check_fetching

        check_fetching(urls)


def _path(path: Source | None) -> Path | None:
    return None if path is None else Path(path)
