"""The process that scores. A file that brings a decoder down takes it and nothing else.

The serving process never loads the detector; it sends tasks through a pipe and gets progress and
results back. A worker that dies, or that is stuck, is replaced for the next task.
"""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from deepfake_detect.app.jobs import Progress, ScoredClip, Task
from deepfake_detect.app.limits import Limits
from deepfake_detect.app.refusals import Refusal, refusal_of
from deepfake_detect.errors import DeepfakeDetectError, WorkerError

_CONTEXT = multiprocessing.get_context("spawn")
_POLL_SECONDS = 0.1
_STOP_SECONDS = 10.0
# Bytes of a picture's size in its head; PIL reads it without decoding the picture.
_PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".gif", ".webp"})

_Note = tuple[Literal["nothing", "ready", "progress", "result", "error"], Any]


class WorkerProcess:
    """Scores in a process of its own.

    Args:
        detector: Detector file; the bundled default when ``None``.
        device: As for ``load_detector``.
        limits: Which to keep.
        folder: Of the uploads; the worker deletes it should this process be killed.

    Raises:
        DeepfakeDetectError: The detector cannot be loaded on the device.
        WorkerError: The process died while it was loaded.
    """

    def __init__(self, detector: str | None, device: str, limits: Limits, folder: Path) -> None:
        self._arguments = (detector, device, limits, folder)
        self._limits = limits
        self._stop = _CONTEXT.Event()
        self._is_closed = False
        self._start()

    def score(
        self, task: Task, on_progress: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> ScoredClip:
        """Judge a clip; see :class:`jobs.Scorer`.

        Raises:
            Refusal: It cannot be judged: for what it is, for the time it takes, or because its
                decoder crashed.
        """
        if not self._process.is_alive():
            self._start()
        self._stop.clear()
        self._pipe.send(task)
        deadline = time.monotonic() + self._limits.max_job_seconds
        while time.monotonic() < deadline:
            if is_cancelled() and not self._stop.is_set():
                self._stop.set()
                deadline = min(deadline, time.monotonic() + _STOP_SECONDS)
            kind, value = self._receive(task)
            if kind == "nothing":
                continue
            if kind == "progress":
                on_progress(value)
            elif kind == "error":
                raise value
            else:
                result: ScoredClip = value
                return result
        self._kill()
        raise self._refusal(task, f"was not done after {self._limits.max_job_seconds:g} s", "shorten it")

    def close(self) -> None:
        """End the process."""
        self._is_closed = True
        self._kill()

    def _start(self) -> None:
        if self._is_closed:
            raise WorkerError("worker", "was closed", "start the program again")
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(theirs, self._stop, *self._arguments), name="scoring", daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            kind, value = self._pipe.recv()
        except EOFError as error:
            raise WorkerError("worker", "died while it started", "look at what it wrote above") from error
        if kind == "error":
            raise value

    def _receive(self, task: Task) -> _Note:
        try:
            note: _Note = self._pipe.recv() if self._pipe.poll(_POLL_SECONDS) else ("nothing", None)
        except (EOFError, OSError) as error:
            self._kill()
            raise self._refusal(task, "made its decoder crash", "convert it to H.264 in MP4") from error
        return note

    def _refusal(self, task: Task, cause: str, remedy: str) -> Refusal:
        return Refusal(task.name, cause, remedy, self._limits.sentence(), 422)

    def _kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


class _Stopped(DeepfakeDetectError):
    """The upload's sender has left."""


def _serve(
    pipe: Connection, stop: Any, detector: str | None, device: str, limits: Limits, folder: Path
) -> None:
    """Load the detector, then score what comes through the pipe until its other end is closed."""
    # Ctrl-C reaches the whole group; the parent ends this process when it has tidied up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def tell(progress: Progress) -> None:
        if stop.is_set():
            raise _Stopped("job", "was stopped", "upload the clip again")
        pipe.send(("progress", progress))

    try:
        judge = _Judge(detector, device, limits)
    except DeepfakeDetectError as error:
        pipe.send(("error", error))
        return
    try:
        pipe.send(("ready", None))
        while True:
            pipe.send(_note(judge, pipe.recv(), tell))
    except (EOFError, OSError):
        # The parent was killed: nobody else will delete what it took in.
        shutil.rmtree(folder, ignore_errors=True)


def _note(judge: _Judge, task: Task, tell: Callable[[Progress], None]) -> _Note:
    try:
        return ("result", judge(task, tell))
    except BrokenPipeError:
        raise  # of the pipe to the parent, not of the clip
    except DeepfakeDetectError as error:
        return ("error", refusal_of(error, name=task.name, allowed=judge.limits.sentence()))
    except Exception as error:  # the next task must have its turn
        traceback.print_exc()
        cause = f"met a fault of this program ({type(error).__name__})"
        return (
            "error",
            Refusal(task.name, cause, "report it with the file", judge.limits.sentence(), 500),
        )


class _Judge:
    """A detector, and the checks a file passes before it."""

    def __init__(self, detector: str | None, device: str, limits: Limits) -> None:
        # Here, not above: the serving process imports this module too, and needs none of it.
        from deepfake_detect.scoring import load_detector

        self.limits = limits
        self._detector = load_detector(detector, device=device)

    def __call__(self, task: Task, on_progress: Callable[[Progress], None]) -> ScoredClip:
        from deepfake_detect.app.results import scored_clip

        on_progress(Progress("checking"))
        num_frames = min(task.num_frames, check_media(task.path, task.name, self.limits))
        on_progress(Progress("looking", 0, num_frames))
        score = self._detector.score_video(
            task.path,
            num_frames=task.num_frames,
            on_frame=lambda done: on_progress(Progress("looking", done, num_frames)),
        )
        if task.wants_page:
            on_progress(Progress("explaining"))
        return scored_clip(self._detector, score, name=task.name, wants_page=task.wants_page)


def check_media(path: Path, name: str, limits: Limits) -> int:
    """Check a file before much of it is decoded, and return how many frames it holds.

    Args:
        path: The file.
        name: What its sender calls it.
        limits: Which to keep.

    Raises:
        Refusal: Its frames are too large, or it is too long.
        VideoError: It is no video.
    """
    from deepfake_detect.video import read_metadata

    width, height = _picture_size(path) if path.suffix in _PICTURE_SUFFIXES else _frame_size(path)
    if width * height > limits.max_pixels:
        raise Refusal(
            name, f"has frames of {width} x {height} pixels", "scale it down", limits.sentence(), 422
        )
    metadata = read_metadata(path)
    if metadata.duration_seconds > limits.max_seconds:
        length = f"is {metadata.duration_seconds:.1f} s long"
        raise Refusal(name, length, "cut out the part that matters", limits.sentence(), 422)
    return metadata.num_frames


def _picture_size(path: Path) -> tuple[int, int]:
    """Return a picture's width and height from its head: FFmpeg decodes it just to open it."""
    from PIL import Image, UnidentifiedImageError

    from deepfake_detect.errors import VideoUnreadableError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise VideoUnreadableError(path, "is a damaged picture", "send another") from error
        except Image.DecompressionBombError as error:
            raise VideoUnreadableError(path, "has an absurd number of pixels", "scale it down") from error
    return width, height


def _frame_size(path: Path) -> tuple[int, int]:
    from deepfake_detect.video.metadata import open_video

    with open_video(path) as (_, stream):
        return stream.codec_context.width, stream.codec_context.height
