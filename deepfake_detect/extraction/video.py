"""One video: frames and their faces -> crops on disk and manifest rows."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.data.failures import NO_FACE
from deepfake_detect.errors import DeepfakeDetectError, OutputError
from deepfake_detect.extraction.config import ExtractionConfig
from deepfake_detect.extraction.person import ALREADY_CROPPED, BY_MASK, DetectedFace, choose_people
from deepfake_detect.extraction.store import CropFiles, failure_path, write_failure, write_rows
from deepfake_detect.faces.tracked_crops import TrackedCropper
from deepfake_detect.records import DatasetVideo, Face, Frame
from deepfake_detect.video import EvenlySpaced, find_sequence, read_frames, read_sequence


@dataclass(frozen=True)
class Job:
    """A video to extract.

    Attributes:
        video: The video, as the dataset lists it.
        out: Folder of the extraction.
        config: How crops are made.
        local: The same video with local paths, if those of ``video`` are remote.
    """

    video: DatasetVideo
    out: Path
    config: ExtractionConfig
    local: DatasetVideo | None = None

    @property
    def readable(self) -> DatasetVideo:
        """The video with paths that can be opened here."""
        return self.local or self.video


def open_frames(job: Job) -> Generator[Frame, None, None]:
    """Open the video and yield its sampled frames.

    Raises:
        VideoError: It cannot be read to the end.
    """
    sampling = EvenlySpaced(job.config.num_frames)
    path = job.readable.path
    sequence = find_sequence(path)
    if sequence is not None:
        return read_sequence(sequence, sampling)
    return read_frames(path, sampling=sampling, allow_truncated=job.config.allow_truncated)


@dataclass(frozen=True, eq=False)
class _Crop:
    """A crop that was written, without its pixels; ``face`` is ``None`` for crops of the dataset's owners."""

    key: str
    frame_index: int
    time_seconds: float
    frame_size: tuple[int, int]
    track_id: int
    face: Face | None
    native_size: int


class VideoExtraction:
    """Takes a video's frames one by one in order, writes the crops, and in the end keeps the chosen ones.

    An error of the video is recorded as its failure, so that the caller continues with the next; only
    errors of the disk are raised.

    Args:
        job: The video.

    Raises:
        OutputError: The output folder cannot be written; also by the methods.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._files = CropFiles(job.out, job.video, job.config)
        self._cropper = TrackedCropper(job.config.geometry)
        self._crops: list[_Crop] = []
        self._is_over = False

    def take(self, frame: Frame, faces: Sequence[Face]) -> None:
        """Write the crops of the next frame, given the faces detected in it."""
        if self._is_over:
            return
        with self._errors_recorded():
            if self._job.config.already_cropped:
                self._write(frame, 0, None, frame.image)
                return
            for one in self._cropper.follow(frame, faces).faces:
                self._write(frame, one.track_id, one.face, one.crop)

    def end(self, error: Exception | None = None) -> None:
        """Move the chosen crops and their rows into place; or, given an error, record the failure."""
        if self._is_over:
            return
        with self._errors_recorded():
            if error is not None:
                raise error
            self._finish()
        self.abandon()

    def abandon(self) -> None:
        """Remove crops that were not moved into place."""
        self._is_over = True
        self._files.discard()

    @contextmanager
    def _errors_recorded(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise  # an error of the output disk, not of the video
        except DeepfakeDetectError as error:
            self._fail(type(error).__name__, f"{error.cause}; {error.remedy}")
        except Exception as error:  # one bad video must not end a run of days
            self._fail(type(error).__name__, str(error))

    def _fail(self, reason: str, message: str) -> None:
        self.abandon()
        write_failure(self._job.out, self._job.video, reason, message)

    def _write(self, frame: Frame, track_id: int, face: Face | None, image: np.ndarray) -> None:
        key = f"{frame.frame_index:06d}_{track_id:02d}"
        self._files.add(key, image)
        height, width = frame.image.shape[:2]
        size = max(image.shape[:2])
        self._crops.append(
            _Crop(key, frame.frame_index, frame.time_seconds, (width, height), track_id, face, size)
        )

    def _finish(self) -> None:
        out, video = self._job.out, self._job.video
        kept, choice = self._choose()
        paths = self._files.commit({crop.key: crop.frame_index for crop in kept})
        if kept:
            failure_path(out, video).unlink(missing_ok=True)
        else:
            where = "white of the mask" if choice == BY_MASK else "video"
            write_failure(out, video, NO_FACE, f"no face was found in the {where}, in any sampled frame")
        write_rows(out, video, [_row(video, crop, paths[crop.key], choice) for crop in kept])

    def _choose(self) -> tuple[list[_Crop], str]:
        if self._job.config.already_cropped:
            return self._crops, ALREADY_CROPPED
        seen = [
            DetectedFace(crop.frame_index, crop.frame_size, crop.track_id, crop.face)
            for crop in self._crops
            if crop.face is not None
        ]
        people, choice = choose_people(seen, self._job.readable, self._job.config.person)
        return [crop for crop in self._crops if crop.track_id in people], choice


def _row(video: DatasetVideo, crop: _Crop, path: str, choice: str) -> dict[str, Any]:
    face = crop.face
    return {
        "dataset": video.dataset,
        "video_id": video.video_id,
        "method": video.method,
        "label": video.label,
        "split": video.split,
        "compression": video.compression,
        "target_id": video.target_id,
        "source_id": video.source_id,
        "frame_index": crop.frame_index,
        "time_seconds": None if math.isnan(crop.time_seconds) else crop.time_seconds,
        "track_id": crop.track_id,
        "box_xyxy": None if face is None else face.box_xyxy.tolist(),
        "landmarks_xy": None if face is None else face.landmarks_xy.reshape(-1).tolist(),
        "detection_score": None if face is None else face.score,
        "path": path,
        "native_size": crop.native_size,
        "person_choice": choice,
    }
