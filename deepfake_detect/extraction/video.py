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
from deepfake_detect.extraction.person import (
    ALREADY_CROPPED,
    BY_MASK,
    DetectedFace,
    choose_people,
    sampled_frames,
)
from deepfake_detect.extraction.store import (
    LISTED_COLUMNS,
    CropFiles,
    write_failure,
    write_rows,
)
from deepfake_detect.faces.crops import crop_side
from deepfake_detect.faces.tracked_crops import TrackedCropper
from deepfake_detect.records import DatasetVideo, Face, Frame
from deepfake_detect.video import EvenlySpaced
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits


@dataclass(frozen=True)
class Job:
    """A video to extract."""

    video: DatasetVideo  # as the dataset lists it
    out: Path  # folder of the extraction
    config: ExtractionConfig
    limits: DecodingLimits = DEFAULT_LIMITS
    local: DatasetVideo | None = None  # with local paths, if those of ``video`` are remote

    @property
    def readable(self) -> DatasetVideo:
        """The video with paths that can be opened here."""
        return self.local or self.video


def open_frames(job: Job) -> Generator[Frame, None, None]:
    """Open the video and yield its sampled frames.

    Raises:
        VideoError: It cannot be read to the end.
    """
    sampling, allow_truncated = EvenlySpaced(job.config.num_frames), job.config.allow_truncated
    return sampled_frames(job.readable.path, sampling, allow_truncated=allow_truncated, limits=job.limits)


class VideoExtraction:
    """Takes a video's frames one by one in order, writes the crops, and in the end keeps the chosen ones.

    An error of the video is recorded as its failure, so that the caller continues with the next; only an
    OutputError, of the disk, is raised. ``face_runtime`` is for the manifest.
    """

    def __init__(self, job: Job, face_runtime: str | None = None) -> None:
        self.video_id = job.video.video_id
        self._job = job
        self._face_runtime = face_runtime
        self._files = CropFiles(job.out, job.video, job.config)
        self._cropper = TrackedCropper(job.config.geometry)
        self._rows: dict[str, dict[str, Any]] = {}  # of the manifest, by the crop's key
        self._seen: list[DetectedFace] = []
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
        except Exception as error:  # one bad video must not end a run of days
            message = str(error)
            if isinstance(error, DeepfakeDetectError):
                message = f"{error.cause}; {error.remedy}"
            self.abandon()
            write_failure(self._job.out, self._job.video, type(error).__name__, message)

    def _write(self, frame: Frame, track_id: int, face: Face | None, image: np.ndarray) -> None:
        key = f"{frame.frame_index:06d}_{track_id:02d}"
        self._files.add(key, image)
        height, width = frame.image.shape[:2]
        if face is not None:
            self._seen.append(DetectedFace(frame.frame_index, (width, height), track_id, face))
        self._rows[key] = {
            **{name: getattr(self._job.video, name) for name in ("video_id", *LISTED_COLUMNS)},
            "label": self._job.video.label_at(frame.time_seconds),
            "fake_segments": self._job.video.fake_segments,
            "frame_index": frame.frame_index,
            "time_seconds": None if math.isnan(frame.time_seconds) else frame.time_seconds,
            "track_id": track_id,
            "box_xyxy": None if face is None else face.box_xyxy.tolist(),
            "landmarks_xy": None if face is None else face.landmarks_xy.reshape(-1).tolist(),
            "detection_score": None if face is None else face.score,
            "native_size": self._native_size(face, image),
            "face_runtime": self._face_runtime,
        }

    def _native_size(self, face: Face | None, image: np.ndarray) -> int:
        """Return the side of a crop in pixels of the frame, also where all crops have one side."""
        geometry = self._job.config.geometry
        if face is not None and geometry.side is not None:
            return crop_side(face, geometry)
        return int(max(image.shape[:2]))

    def _finish(self) -> None:
        out, video, config = self._job.out, self._job.video, self._job.config
        people, choice = {0}, ALREADY_CROPPED
        if not config.already_cropped:
            people, choice = choose_people(self._seen, self._job.readable, config.person)
        kept = {key: row for key, row in self._rows.items() if row["track_id"] in people}
        paths = self._files.commit(kept)
        if not kept:
            where = "white of the mask" if choice == BY_MASK else "video"
            write_failure(out, video, NO_FACE, f"no face was found in the {where}, in any sampled frame")
        rows = [{**row, "path": paths[key], "person_choice": choice} for key, row in kept.items()]
        write_rows(out, video, rows)
