"""Clips judged by the workers of a Ray cluster, each with a detector of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

from deepfake_detect.errors import WorkerError
from deepfake_detect.scoring.clip_scorer import BatchItem, ClipScorer, Finish, ScoringOptions, ready_detector
from deepfake_detect.scoring.sources import ClipSource
from deepfake_detect.work import RayOptions, TaskFailure, map_tasks


def score_on_cluster(
    sources: Sequence[ClipSource], options: ScoringOptions, cluster: RayOptions, *, finish: Finish
) -> Generator[tuple[int, BatchItem], None, None]:
    """ClipScorer clips on a cluster whose machines share the clips' and the detector's folders.

    Args:
        sources: The clips.
        options: What all have in common.
        cluster: Where.
        finish: Called with each verdict in its worker; a function of a module, as it is pickled.

    Yields:
        The position of a clip among the sources and its result, as clips end. A clip that several
        workers died of has an error.

    Raises:
        OptionError: There is no such cluster, or no room in it.
        WorkerError: No worker comes up.
        OutputError: A result cannot be written.
    """
    make_worker = partial(_ClipWorker, options, finish, cluster.cpus_per_worker)
    for (position, source), result in map_tasks(enumerate(sources), make_worker, engine="ray", ray=cluster):
        yield position, _lost(source, result) if isinstance(result, TaskFailure) else result


def _lost(source: ClipSource, lost: TaskFailure) -> BatchItem:
    cause = f"{lost.num_attempts} workers died of it ({lost.cause})"
    return BatchItem(source, None, WorkerError(source.name, cause, "try it alone"), 0.0, None)


class _ClipWorker:
    def __init__(self, options: ScoringOptions, finish: Finish, num_threads: int) -> None:
        if options.runtime == "torch":
            from deepfake_detect.device import keep_freed_memory

            keep_freed_memory()
        detector = ready_detector(options, num_threads=num_threads)
        self._judge = ClipScorer(detector, options, Path(tempfile.gettempdir()), finish)

    def __call__(self, task: tuple[int, ClipSource]) -> BatchItem:
        return self._judge.judge(task[1])
