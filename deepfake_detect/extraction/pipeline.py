"""Reading, detecting and writing at the same time, with a bounded number of frames in memory.

    reader thread of each stream    opens a video, decodes the sampled frames
        │  at most a few frames a stream
    calling thread                  finds the faces, of several videos' frames at once on a GPU
        │  at most a few frames a stream
    writer thread of each stream    tracks people, makes and encodes crops, finishes the video

A stream takes one video after the other, so the frames of a video pass through in order and the result
does not depend on other streams. Decoding, the networks and image encoding all run outside Python's
lock. What a thread raises is raised in the calling thread, which then ends the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import numpy as np

from deepfake_detect.extraction.video import Job, VideoExtraction, open_frames
from deepfake_detect.faces.detector import FaceDetector
from deepfake_detect.records import Face, Frame

_FRAMES_AHEAD = 2  # per stream, before the detector and after it


def stream_videos(
    jobs: Iterable[Job], *, detector: FaceDetector | None, num_streams: int = 1, run_length: int = 1
) -> Generator[str, None, None]:
    """Extract videos; an error in one is recorded, and the others continue.

    Args:
        jobs: The videos.
        detector: Detects the faces; ``None`` if every frame is a face crop already.
        num_streams: Videos read at the same time.
        run_length: Consecutive frames of a video that stay together on their way to the detector. A
            batch on a GPU has frames of one size, and other streams may have another size.

    Yields:
        The id of each video as it ends, in no order when there are several streams.

    Raises:
        OutputError: The output cannot be written; unfinished videos are removed.
    """
    waiting = deque(jobs)
    runtime = None if detector is None else detector.runtime
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(_Stream(waiting, runtime, run_length))) for _ in range(num_streams)
        ]
        for step in _with_faces(_steps(streams), detector):
            yield from step.stream.write(step)
        for stream in streams:
            yield from stream.written()


@dataclass(frozen=True, eq=False)
class _Step:
    """A frame of a video and, after the detector, its faces; or the end of the video, possibly with an
    error.
    """

    stream: _Stream
    video: VideoExtraction
    frame: Frame | None = None
    faces: Sequence[Face] = ()
    error: Exception | None = None


class _Stream:
    """A reader thread and a writer thread, a few frames before and behind the detector."""

    def __init__(self, waiting: deque[Job], runtime: str | None, run_length: int) -> None:
        self._waiting, self._runtime, self._run_length = waiting, runtime, run_length
        self._reader, self._writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._unfinished = set[VideoExtraction]()
        self._runs = self._read()
        num_ahead = max(1, _FRAMES_AHEAD // run_length)
        self._ahead = deque(self._reader.submit(next, self._runs, None) for _ in range(num_ahead))
        self._behind = deque[Future[str | None]]()

    @property
    def next_run(self) -> Future[list[_Step] | None]:
        return self._ahead[0]

    def take_run(self) -> list[_Step] | None:
        """Return the next frames of a video; ``None`` after the last video."""
        run = self._ahead.popleft().result()
        self._ahead.append(self._reader.submit(next, self._runs, None))
        return run

    def write(self, step: _Step) -> Iterator[str]:
        """Write a step, after waiting until few others are unwritten; yield ids of videos that ended."""
        yield from self.written(all_but=_FRAMES_AHEAD - 1)
        self._behind.append(self._writer.submit(self._write, step))

    def written(self, *, all_but: int = 0) -> Iterator[str]:
        """Wait until at most ``all_but`` steps are unwritten; yield ids of videos that ended."""
        while len(self._behind) > all_but:
            name = self._behind.popleft().result()
            if name is not None:
                yield name

    def close(self) -> None:
        """End the threads, and remove unfinished videos."""
        for thread in (self._reader, self._writer):
            thread.shutdown(cancel_futures=True)
        self._runs.close()
        for video in self._unfinished:
            video.abandon()

    def _read(self) -> Generator[list[_Step], None, None]:
        while self._waiting:
            try:
                job = self._waiting.popleft()
            except IndexError:  # another stream was faster
                return
            video = VideoExtraction(job, self._runtime)
            self._unfinished.add(video)
            run: list[_Step] = []
            error: Exception | None = None
            try:
                with closing(open_frames(job)) as frames:
                    for frame in frames:
                        run.append(_Step(self, video, frame))
                        if len(run) == self._run_length:
                            yield run
                            run = []
            except Exception as caught:  # recorded as the video's failure by its writer
                error = caught
            yield [*run, _Step(self, video, error=error)]

    def _write(self, step: _Step) -> str | None:
        if step.frame is not None:
            step.video.take(step.frame, step.faces)
            return None
        step.video.end(step.error)
        # After an error in a frame of it, a video ends twice.
        is_first_end = step.video in self._unfinished
        self._unfinished.discard(step.video)
        return step.video.video_id if is_first_end else None


def _steps(streams: Iterable[_Stream]) -> Iterator[_Step]:
    """Yield the steps of all streams as they are read."""
    running = list(streams)
    while running:
        done, _ = wait([stream.next_run for stream in running], return_when=FIRST_COMPLETED)
        for stream in [stream for stream in running if stream.next_run in done]:
            run = stream.take_run()
            if run is None:
                running.remove(stream)
            else:
                yield from run


def _with_faces(steps: Iterator[_Step], detector: FaceDetector | None) -> Iterator[_Step]:
    """Yield the steps in their order, with the faces of their frames."""
    if detector is None:
        yield from steps
        return
    waiting = deque[_Step]()
    is_over = False
    while not is_over:
        failures: list[Exception] = []
        try:
            for faces in detector.detect_each(_images(steps, waiting, failures)):
                while waiting[0].frame is None:
                    yield waiting.popleft()
                yield replace(waiting.popleft(), faces=faces)
            is_over = True
        except Exception:  # in one of the waiting frames: one by one shows which
            if failures:
                raise
            while waiting:
                yield _detected_alone(detector, waiting.popleft())
    yield from waiting


def _images(steps: Iterator[_Step], waiting: deque[_Step], failures: list[Exception]) -> Iterator[np.ndarray]:
    """Yield the steps' frames; keep all steps that were taken, and the error of taking one."""
    try:
        for step in steps:
            waiting.append(step)
            if step.frame is not None:
                yield step.frame.image
    except Exception as error:
        failures.append(error)
        raise


def _detected_alone(detector: FaceDetector, step: _Step) -> _Step:
    """Return a step with the faces of its frame, or with the error of detecting them."""
    if step.frame is None:
        return step
    try:
        return replace(step, faces=detector.detect(step.frame.image))
    except Exception as caught:  # ends the frame's video, and no other
        return replace(step, frame=None, error=caught)
