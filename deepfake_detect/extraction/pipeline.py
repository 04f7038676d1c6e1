"""Reading, detecting and writing at the same time, with a bounded number of frames in memory.

    reader thread of each stream    opens a video, decodes the sampled frames
        │  at most a few frames a stream
    calling thread                  finds the faces, of several videos' frames at once on a GPU
        │  at most a few frames a stream
    writer thread of each stream    tracks people, makes and encodes crops, finishes the video

A stream takes one video after the other, so the frames of a video pass through in order and the result
does not depend on other streams. Decoding, the networks and image encoding all run outside Python's
lock. If one thread fails, all queues are closed, which ends the others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from deepfake_detect.extraction.video import Job, VideoExtraction, open_frames
from deepfake_detect.faces import TorchMtcnnDetector
from deepfake_detect.records import Face, Frame

T = TypeVar("T")
_FRAMES_AHEAD = 2  # per stream, before the detector and after it


def stream_videos(
    jobs: Iterable[Job], *, detector: TorchMtcnnDetector | None, num_streams: int = 1, run_length: int = 1
) -> Iterator[str]:
    """Extract videos; an error in one is recorded, and the others continue.

    Args:
        jobs: The videos, taken one by one.
        detector: Detects the faces; ``None`` if every frame is a face crop already.
        num_streams: Videos read at the same time.
        run_length: Consecutive frames of a video that stay together on their way to the detector. A
            batch on a GPU has frames of one size, and other streams may have another size.

    Yields:
        The id of each video as it ends, in no order when there are several streams.

    Raises:
        OutputError: The output cannot be written; unfinished videos are removed.
    """
    pipeline = _Pipeline(jobs, detector, num_streams, run_length)
    try:
        yield from pipeline.run()
    finally:
        pipeline.stop()


@dataclass(frozen=True, eq=False)
class _Step:
    """An item on the way from a stream's reader to its writer.

    A frame of a video and, after the detector, its faces; or, without a frame, the end of the video,
    possibly with an error; or, without a video, the end of the stream.
    """

    stream: int
    video: VideoExtraction | None = None
    frame: Frame | None = None
    faces: Sequence[Face] = ()
    error: Exception | None = None


class _ClosedError(Exception):
    """The queue was closed because another thread failed."""


class _Queue(Generic[T]):
    """A bounded queue between threads that can be closed (queue.Queue can only from Python 3.13)."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._items) < self._capacity)
            if self._is_closed:
                raise _ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def take(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or bool(self._items))
            if self._is_closed:
                raise _ClosedError
            self._changed.notify_all()
            return self._items.popleft()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class _Pipeline:
    """The threads and queues of one run."""

    def __init__(
        self, jobs: Iterable[Job], detector: TorchMtcnnDetector | None, num_streams: int, run_length: int
    ) -> None:
        self._jobs = iter(jobs)
        self._jobs_lock = threading.Lock()
        self._detector = detector
        self._run_length = run_length
        self._read: _Queue[list[_Step]] = _Queue(max(2, num_streams * _FRAMES_AHEAD // run_length))
        self._found: list[_Queue[_Step]] = [_Queue(_FRAMES_AHEAD) for _ in range(num_streams)]
        self._open: dict[VideoExtraction, str] = {}
        self._ended: deque[str] = deque()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(body, stream), daemon=True)
            for stream in range(num_streams)
            for body in (self._read_videos, self._write_videos)
        ]

    def run(self) -> Iterator[str]:
        """Extract all videos; yield their ids."""
        for thread in self._threads:
            thread.start()
        try:
            for step in self._with_faces(self._steps()):
                self._found[step.stream].put(step)
                while self._ended:
                    yield self._ended.popleft()
        except _ClosedError:
            pass  # a thread has failed and set self._failure
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        yield from self._ended

    def stop(self) -> None:
        """End the threads, and remove unfinished videos."""
        self._close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for video in self._open:
            video.abandon()

    def _guarded(self, body: Callable[[int], None], stream: int) -> None:
        """Run a thread's body; if it fails, keep the reason and end all threads."""
        try:
            body(stream)
        except _ClosedError:
            pass
        except BaseException as error:
            self._failure = self._failure or error
            self._close()

    def _close(self) -> None:
        self._read.close()
        for queue in self._found:
            queue.close()

    def _next_job(self) -> Job | None:
        with self._jobs_lock:
            return next(self._jobs, None)

    def _read_videos(self, stream: int) -> None:
        while (job := self._next_job()) is not None:
            video = VideoExtraction(job)
            self._open[video] = job.video.video_id
            error: Exception | None = None
            run: list[_Step] = []
            try:
                with closing(open_frames(job)) as frames:
                    for frame in frames:
                        run.append(_Step(stream, video, frame))
                        if len(run) == self._run_length:
                            self._read.put(run)
                            run = []
            except _ClosedError:
                raise
            except Exception as caught:  # recorded as the video's failure by its writer
                error = caught
            self._read.put([*run, _Step(stream, video, error=error)])
        self._read.put([_Step(stream)])

    def _steps(self) -> Iterator[_Step]:
        """Yield the readers' items until all readers have ended."""
        num_running = len(self._found)
        while num_running:
            for step in self._read.take():
                num_running -= step.video is None
                yield step

    def _with_faces(self, steps: Iterator[_Step]) -> Iterator[_Step]:
        """Yield the steps in their order, with the faces of their frames."""
        if self._detector is None:
            yield from steps
            return
        waiting = deque[_Step]()
        is_over = False
        while not is_over:
            try:
                for faces in self._detector.detect_each(_images(steps, waiting)):
                    while waiting[0].frame is None:
                        yield waiting.popleft()
                    yield replace(waiting.popleft(), faces=faces)
                is_over = True
            except _ClosedError:
                raise
            except Exception:  # in one of the waiting frames: one by one shows which
                while waiting:
                    yield _detected_alone(self._detector, waiting.popleft())
        yield from waiting

    def _write_videos(self, stream: int) -> None:
        while (step := self._found[stream].take()).video is not None:
            if step.frame is not None:
                step.video.take(step.frame, step.faces)
                continue
            step.video.end(step.error)
            if step.video in self._open:
                self._ended.append(self._open.pop(step.video))


def _images(steps: Iterator[_Step], waiting: deque[_Step]) -> Iterator[np.ndarray]:
    """Yield the steps' frames; append all steps to those waiting, with or without a frame."""
    for step in steps:
        waiting.append(step)
        if step.frame is not None:
            yield step.frame.image


def _detected_alone(detector: TorchMtcnnDetector, step: _Step) -> _Step:
    """Return a step with the faces of its frame, or with the error of detecting them."""
    if step.frame is None:
        return step
    try:
        return replace(step, faces=detector.detect(step.frame.image))
    except Exception as caught:  # ends the frame's video, and no other
        return replace(step, frame=None, error=caught)
