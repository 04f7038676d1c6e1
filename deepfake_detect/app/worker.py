"""The process that scores. A file that crashes a decoder takes it down and nothing else.

The serving process never loads the detector; it sends tasks through a pipe and gets progress and
results back. A worker that crashes, or takes too long, is replaced for the next task.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.app.jobs import Progress, ScoredClip, Task
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError, internal_error, request_error
from deepfake_detect.errors import DeepfakeDetectError, VideoLimitError, WorkerError
from deepfake_detect.work import Crashed, Done, Note, TaskCancelledError, WorkerProcess, report

if TYPE_CHECKING:
    from deepfake_detect.scoring import Detector
    from deepfake_detect.video import DecodingLimits

_POLL_SECONDS = 0.1
_STOP_SECONDS = 10.0


class ScoringProcess:
    """Scores in a process of its own; see :class:`jobs.Scorer`.

    Args:
        detector: Detector file; the bundled default when ``None``.
        device: As for ``load_detector``.
        limits: Limits to enforce.
        folder: Of the uploads; the worker deletes it if this process is killed.
        num_threads: That it computes with; all cores when ``None``.

    Raises:
        DeepfakeDetectError: The detector cannot be loaded on the device.
        WorkerError: The process crashed while loading it.
    """

    def __init__(
        self,
        detector: str | None,
        device: str,
        limits: Limits,
        folder: Path,
        *,
        num_threads: int | None = None,
    ) -> None:
        # work.map_tasks runs a list of tasks to its end. Here tasks come one by one, each with its own
        # deadline and cancellation, so the page uses the runner's process directly.
        self._start_process = partial(
            WorkerProcess,
            partial(TaskScorer, detector, device, limits, num_threads=num_threads),
            num_threads=num_threads,
            on_orphaned=partial(shutil.rmtree, folder, ignore_errors=True),
            name="scoring",
        )
        self._limits = limits
        self._is_closed = False
        self._start()

    def score(
        self, task: Task, on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> ScoredClip:
        """Score a clip.

        Raises:
            RequestError: It cannot be scored: because of its content, because it takes too long, or
                because its decoder crashed.
        """
        if self._is_closed or not self._process.is_alive():
            self._start()
        self._process.give(task)
        deadline = time.monotonic() + self._limits.max_job_seconds
        is_stopping = False
        while time.monotonic() < deadline:
            if is_cancelled() and not is_stopping:
                is_stopping = True
                self._process.cancel()
                deadline = min(deadline, time.monotonic() + _STOP_SECONDS)
            if not self._process.poll(_POLL_SECONDS):
                continue
            message = self._received()
            if isinstance(message, Note):
                on_progress(message.value)
            elif isinstance(message, Crashed):
                self._process.stop()
                raise self._error(task, "crashed its decoder", "convert it to H.264 in MP4")
            elif isinstance(message, Done):
                clip: ScoredClip = message.result
                return clip
        self._process.stop()
        raise self._error(task, f"was not finished after {self._limits.max_job_seconds:g} s", "shorten it")

    def close(self) -> None:
        """End the process."""
        self._is_closed = True
        self._process.stop()

    def _start(self) -> None:
        if self._is_closed:
            raise WorkerError("worker", "was closed", "restart the program")
        self._process = self._start_process()
        message = self._process.receive()
        if isinstance(message, Crashed):
            cause = f"crashed while it started ({message.cause})"
            raise WorkerError("worker", cause, "see its messages on standard error")

    def _received(self) -> object:
        try:
            return self._process.receive()
        except TaskCancelledError:
            raise RequestError(
                "job", "was cancelled", "upload the clip again", self._limits.sentence(), 410
            ) from None

    def _error(self, task: Task, cause: str, remedy: str) -> RequestError:
        return RequestError(task.name, cause, remedy, self._limits.sentence(), 422)


class TaskScorer:
    """Scores tasks with one detector; called in the worker's process.

    Args:
        detector, device, limits, num_threads: As for :class:`ScoringProcess`.
    """

    def __init__(
        self, detector: str | None, device: str, limits: Limits, *, num_threads: int | None = None
    ) -> None:
        # Here, not above: the serving process imports this module too, and needs none of it.
        from deepfake_detect.scoring import load_detector

        self._limits = limits
        self._detector: Detector = load_detector(detector, device=device, num_threads=num_threads)

    def __call__(self, task: Task) -> ScoredClip:
        """Score a clip.

        Raises:
            RequestError: It cannot be scored.
        """
        allowed = self._limits.sentence()
        try:
            return self._score(task)
        except DeepfakeDetectError as error:
            raise request_error(error, name=task.name, allowed=allowed) from None
        except (TaskCancelledError, BrokenPipeError, ConnectionResetError):
            raise  # about the parent process, not about the clip
        except Exception as error:
            traceback.print_exc()
            raise internal_error(error, name=task.name, allowed=allowed) from None

    def _score(self, task: Task) -> ScoredClip:
        from deepfake_detect.app.results import scored_clip

        report(Progress("checking"))
        num_frames = min(task.num_frames, check_media(task.path, task.name, self._limits))
        report(Progress("looking", 0, num_frames))
        result = self._detector.score_video(
            task.path,
            num_frames=task.num_frames,
            limits=decoding_limits(self._limits),
            on_frame=lambda done: report(Progress("looking", done, num_frames)),
        )
        if task.wants_page:
            report(Progress("explaining"))
        return scored_clip(self._detector, result, name=task.name, wants_page=task.wants_page)


def check_media(path: Path, name: str, limits: Limits) -> int:
    """Check a file before much of it is decoded, and return its number of frames.

    Args:
        path: The file.
        name: The client's name for it.
        limits: Limits to enforce.

    Raises:
        RequestError: Its frames are too large, or it is too long.
        VideoError: It is not a video.
    """
    from deepfake_detect.video import read_metadata

    try:
        metadata = read_metadata(path, limits=decoding_limits(limits))
    except VideoLimitError as error:
        raise RequestError(name, error.cause, "scale it down", limits.sentence(), 422) from error
    if metadata.duration_seconds > limits.max_seconds:
        cause = f"is {metadata.duration_seconds:.1f} s long"
        raise RequestError(name, cause, "cut out the part you need", limits.sentence(), 422)
    return metadata.num_frames


def decoding_limits(limits: Limits) -> DecodingLimits:
    """Return what of a server's limits concerns decoding."""
    from deepfake_detect.video import DecodingLimits

    return DecodingLimits(max_pixels=limits.max_pixels, max_decoding_seconds=limits.max_job_seconds)
