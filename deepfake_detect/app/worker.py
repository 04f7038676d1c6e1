"""The process that scores. A file that crashes a decoder takes it down and nothing else.

The serving process never loads the detector; it sends tasks through a pipe and gets progress and
results back. A worker that crashes, or takes too long, is replaced for the next task.
"""

from __future__ import annotations

import shutil
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.app.jobs import Progress, ScoredClip, Task
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError, internal_error, request_error
from deepfake_detect.errors import DeepfakeDetectError, VideoUnreadableError, WorkerError
from deepfake_detect.work import Crashed, Done, Note, TaskCancelledError, WorkerProcess, report

if TYPE_CHECKING:
    from deepfake_detect.scoring import Detector

_POLL_SECONDS = 0.1
_STOP_SECONDS = 10.0
# Of images whose size PIL reads from their header without decoding them.
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".gif", ".webp"})


class ScoringProcess:
    """Scores in a process of its own; see :class:`jobs.Scorer`.

    Args:
        detector: Detector file; the bundled default when ``None``.
        device: As for ``load_detector``.
        limits: Limits to enforce.
        folder: Of the uploads; the worker deletes it if this process is killed.

    Raises:
        DeepfakeDetectError: The detector cannot be loaded on the device.
        WorkerError: The process crashed while loading it.
    """

    def __init__(self, detector: str | None, device: str, limits: Limits, folder: Path) -> None:
        # work.map_tasks runs a list of tasks to its end. Here tasks come one by one, each with its own
        # deadline and cancellation, so the page uses the runner's process directly.
        self._start_process = partial(
            WorkerProcess,
            partial(TaskScorer, detector, device, limits),
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
        raise self._error(task, f"was not done after {self._limits.max_job_seconds:g} s", "shorten it")

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
        detector, device, limits: As for :class:`ScoringProcess`.
    """

    def __init__(self, detector: str | None, device: str, limits: Limits) -> None:
        # Here, not above: the serving process imports this module too, and needs none of it.
        from deepfake_detect.scoring import load_detector

        self._limits = limits
        self._detector: Detector = load_detector(detector, device=device)

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

    width, height = _image_size(path) if path.suffix in _IMAGE_SUFFIXES else _frame_size(path)
    if width * height > limits.max_pixels:
        cause = f"has frames of {width} x {height} pixels"
        raise RequestError(name, cause, "scale it down", limits.sentence(), 422)
    metadata = read_metadata(path)
    if metadata.duration_seconds > limits.max_seconds:
        cause = f"is {metadata.duration_seconds:.1f} s long"
        raise RequestError(name, cause, "cut out the part that matters", limits.sentence(), 422)
    return metadata.num_frames


def _image_size(path: Path) -> tuple[int, int]:
    """Return an image's width and height from its header: FFmpeg decodes it just to open it."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise VideoUnreadableError(path, "is a damaged image", "send another") from error
        except Image.DecompressionBombError as error:
            raise VideoUnreadableError(path, "has too many pixels", "scale it down") from error
    return width, height


def _frame_size(path: Path) -> tuple[int, int]:
    from deepfake_detect.video.container import open_video

    with open_video(path) as (_, stream):
        return stream.codec_context.width, stream.codec_context.height
