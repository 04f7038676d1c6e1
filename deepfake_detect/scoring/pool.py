"""Several clips at a time: processes with a detector and one thread each.

A process works on one clip at a time and nothing is queued behind it, so that one which dies (of
memory, or of a decoder's fault) takes only its clip with it; a new one takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from deepfake_detect.errors import DeepfakeDetectError, WorkerError
from deepfake_detect.scoring.clip_scorer import BatchItem, ClipScorer, Finish, ScoringOptions, ready_detector
from deepfake_detect.scoring.sources import ClipSource

_CONTEXT = multiprocessing.get_context("spawn")  # forking after torch has threads deadlocks
_MOST_WORKERS = 4
_FEWEST_CLIPS = 3
_PATIENCE_SECONDS = 5


def default_num_workers(num_clips: int, num_cores: int) -> int:
    """Return how many processes pay: starting one takes about as long as two clips of ten seconds.

    Example:
        >>> [default_num_workers(clips, 8) for clips in (1, 2, 3, 99)]
        [1, 1, 3, 4]
    """
    return 1 if num_clips < _FEWEST_CLIPS else min(num_clips, num_cores, _MOST_WORKERS)


def score_clips(
    sources: Sequence[ClipSource],
    options: ScoringOptions,
    *,
    num_workers: int,
    scratch: Path,
    finish: Finish,
) -> Generator[tuple[int, BatchItem], None, None]:
    """ClipScorer clips in processes of their own.

    Args:
        sources: The clips.
        options: What all have in common. The detector must load: see :func:`judge.ready_detector`.
        num_workers: Processes, from 1.
        scratch: Existing folder for fetched clips.
        finish: Called with each verdict in its process; a function of a module, as it is pickled.

    Yields:
        The position of a clip among the sources and its result, as clips end.

    Raises:
        OutputError: A result cannot be written.
    """
    waiting = deque(enumerate(sources))
    idle: list[_Worker] = []
    busy: dict[Connection, tuple[_Worker, int]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < num_workers:
                worker = idle.pop() if idle else _Worker(options, scratch, finish)
                position, source = waiting.popleft()
                worker.give(source)
                busy[worker.connection] = worker, position
            for connection in wait(list(busy)):
                worker, position = busy.pop(connection)  # type: ignore[call-overload]
                answer = worker.take()
                if answer is None:
                    yield position, _lost(sources[position], worker.exit_code())
                    continue
                idle.append(worker)
                if isinstance(answer, DeepfakeDetectError):
                    raise answer
                yield position, answer
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.stop()


def _lost(source: ClipSource, exit_code: int | None) -> BatchItem:
    how = f"signal {signal.Signals(-exit_code).name}" if exit_code and exit_code < 0 else f"exit {exit_code}"
    error = WorkerError(
        source.name,
        f"the process that judged it died ({how})",
        "try it alone, with fewer --workers (memory?)",
    )
    return BatchItem(source, None, error, 0.0, None)


class _Worker:
    """A process that judges the clips it is given, one by one."""

    def __init__(self, options: ScoringOptions, scratch: Path, finish: Finish) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(theirs, options, scratch, finish), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def give(self, source: ClipSource) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it died: take tells
            self.connection.send(source)

    def take(self) -> BatchItem | DeepfakeDetectError | None:
        """Return the answer; ``None`` when the process died."""
        try:
            answer: BatchItem | DeepfakeDetectError = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return None
        return answer

    def exit_code(self) -> int | None:
        """Return how a process ended that died."""
        self._process.join(_PATIENCE_SECONDS)
        return self._process.exitcode

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        self._process.terminate()
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()
        self._process.join()


def _work(connection: Any, options: ScoringOptions, scratch: Path, finish: Finish) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is half done is cleared away
    if options.runtime == "torch":
        from deepfake_detect.device import keep_freed_memory, limit_threads

        keep_freed_memory()
        limit_threads(1)
    judge = ClipScorer(ready_detector(options, num_threads=1), options, scratch, finish)
    # Without the main process there is nothing left to do, nor after the signal.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, SystemExit):
        while True:
            try:
                answer: Any = judge.judge(connection.recv())
            except DeepfakeDetectError as error:
                answer = error
            connection.send(answer)
    os._exit(0)  # a signal must not fall into the interpreter's own end, which takes long
