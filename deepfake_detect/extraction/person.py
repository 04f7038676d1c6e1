"""Whose faces of a video are kept.

A forged video's label is about the person whose face was forged; other people in it are real.
FaceForensics++, DeepFakeDetection and FFIW-10K publish a mask for each forged video: a video of the same
length that is white where the face was forged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_detect.errors import DatasetError, VideoError, VideoTruncatedError
from deepfake_detect.extraction.config import PersonPolicy
from deepfake_detect.faces import confirmed_tracks, main_track
from deepfake_detect.records import FAKE, DatasetVideo, Face, Frame, VideoMetadata
from deepfake_detect.video import Sampling, find_sequence, read_frames, read_sequence
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits

# What the manifest's column person_choice may hold.
BY_MASK, LARGEST, EVERYONE, ALREADY_CROPPED = "mask", "largest", "all", "already_cropped"
_MIN_WHITE = 128  # masks went through a lossy codec: neither black nor white is pure


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A detected face without its frame."""

    frame_index: int
    frame_size: tuple[int, int]  # width and height in pixels
    track_id: int
    face: Face


def choose_people(
    seen: Sequence[DetectedFace], video: DatasetVideo, policy: PersonPolicy
) -> tuple[set[int], str]:
    """Return whose faces are kept, and how that was decided.

    A mask is used if it has every frame in which a face was detected, and has white pixels. Then a track
    without white pixels in its boxes is never chosen, so that a bystander is not taken for the forged
    person if that person's face was not detected.

    Args:
        seen: The faces of the sampled frames, frames in ascending order.
        video: The video, with its mask and label.
        policy: See :class:`ExtractionConfig`.

    Returns:
        The tracks that are kept, possibly none, and the manifest's ``person_choice``.

    Raises:
        DatasetError: The policy is ``"mask"``, and the video is a fake without a usable mask.
    """
    people = confirmed_tracks((one.track_id, one.face.score) for one in seen)
    if policy == "all":
        return people, EVERYONE
    if policy != "largest" and video.mask_path is not None and people:
        areas = white_areas(video.mask_path, seen)
        if areas:
            covering = [track_id for track_id in sorted(people) if areas.get(track_id, 0) > 0]
            return set(sorted(covering, key=lambda track_id: -areas[track_id])[:1]), BY_MASK
    if policy == "mask" and video.label == FAKE and people:
        raise DatasetError(
            video.path,
            "has no usable mask of the forged face",
            "download its mask, or set `person` to auto to keep the largest person of such videos",
        )
    largest = main_track((one.track_id, one.face) for one in seen if one.track_id in people)
    return ({largest} if largest is not None else set()), LARGEST


def white_areas(mask_path: Path, seen: Sequence[DetectedFace]) -> dict[int, int]:
    """Count the white pixels of a mask inside each track's boxes, in one pass over the mask.

    Args:
        mask_path: Video (or folder of images) with the frames of the masked video; a mask of another
            size is scaled.
        seen: Faces, frames in ascending order.

    Returns:
        Track number -> white pixels, summed over the frames. Empty if the mask cannot be used: it
        cannot be read, lacks a frame, or is black in all frames.
    """
    in_frame: dict[int, list[DetectedFace]] = defaultdict(list)
    for one in seen:
        in_frame[one.frame_index].append(one)
    areas = {one.track_id: 0 for one in seen}
    total = 0
    try:
        with closing(sampled_frames(mask_path, _These(tuple(in_frame)))) as masks:
            for mask in masks:
                white = mask.image.max(axis=2) >= _MIN_WHITE  # (H, W)
                total += int(np.count_nonzero(white))
                height, width = white.shape
                for one in in_frame[mask.frame_index]:
                    scale = np.array([width, height, width, height]) / (one.frame_size * 2)
                    box = np.maximum(0, np.rint(one.face.box_xyxy * scale)).astype(int)
                    areas[one.track_id] += int(np.count_nonzero(white[box[1] : box[3], box[0] : box[2]]))
    except VideoError:
        return {}  # then person_choice in the manifest is "largest" for a video with a mask
    return areas if total else {}


def sampled_frames(
    path: Path,
    sampling: Sampling,
    *,
    allow_truncated: bool = False,
    limits: DecodingLimits = DEFAULT_LIMITS,
) -> Generator[Frame, None, None]:
    """Open a video or a folder of images and yield its sampled frames.

    Raises:
        VideoError: It cannot be read to the end.
    """
    sequence = find_sequence(path)
    if sequence is not None:
        return read_sequence(sequence, sampling)
    return read_frames(path, sampling=sampling, allow_truncated=allow_truncated, limits=limits)


@dataclass(frozen=True)
class _These:
    """Samples the frames with these indices; an error if the clip is shorter."""

    indices: tuple[int, ...]

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> Sequence[int]:
        if self.indices[-1] >= metadata.num_frames:
            raise VideoTruncatedError(
                metadata.path, f"has {metadata.num_frames} frames, fewer than its video", "download it again"
            )
        return self.indices
