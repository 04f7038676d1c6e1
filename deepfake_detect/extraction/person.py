"""Whose faces of a video are kept.

A forged video's label is about the person whose face was forged; others in the picture are real.
FaceForensics++, DeepFakeDetection and FFIW-10K publish, for each forged video, a video of the same
length that is white where the face was forged: it tells who that person is.
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

# What the manifest's column person_choice may hold.
BY_MASK, LARGEST, EVERYBODY, ALREADY_CROPPED = "mask", "largest", "all", "already_cropped"
_WHITE_FROM = 128  # masks went through a lossy codec: neither black nor white is pure


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A face of a video and whose it is, once its frame is gone.

    Attributes:
        frame_index: Where it was seen.
        frame_size: Width and height of the frame in pixels.
        track_id: Whose it is.
        face: Box, score and landmarks.
    """

    frame_index: int
    frame_size: tuple[int, int]
    track_id: int
    face: Face


def choose_people(
    seen: Sequence[SeenFace], video: DatasetVideo, policy: PersonPolicy
) -> tuple[set[int], str]:
    """Tell whose faces are kept, and how that was decided.

    A mask decides when it can be used: it has every frame a face was seen in, and shows white.
    Then a track no part of whose boxes is white is never chosen, so that a bystander does not pass
    for the forged person where that one's face was not found.

    Args:
        seen: The faces of the sampled frames, frames in ascending order.
        video: Whose mask is asked, and whose label tells whether there should be one.
        policy: See :class:`ExtractionConfig`.

    Returns:
        The tracks that are kept, maybe none, and a value of the manifest's ``person_choice``.

    Raises:
        DatasetError: The policy is ``"mask"``, and the video is a fake without a usable mask.
    """
    people = confirmed_tracks((one.track_id, one.face.score) for one in seen)
    if policy == "all":
        return people, EVERYBODY
    if policy != "largest" and video.mask_path is not None and people:
        areas = white_areas(video.mask_path, seen)
        if areas:
            return _with_greatest(areas, people), BY_MASK
    if policy == "mask" and video.label == FAKE and people:
        raise DatasetError(
            video.path,
            "no mask tells whose face was forged",
            "fetch its mask, or pass --person auto to keep the largest person of such videos",
        )
    largest = main_track((one.track_id, one.face) for one in seen if one.track_id in people)
    return ({largest} if largest is not None else set()), LARGEST


def _with_greatest(areas: dict[int, int], people: set[int]) -> set[int]:
    """Return the person with most white area, the lowest number among equals; nobody where it is 0."""
    covering = [track_id for track_id in people if areas.get(track_id, 0) > 0]
    return {min(covering, key=lambda track_id: (-areas[track_id], track_id))} if covering else set()


def white_areas(mask_path: Path, seen: Sequence[SeenFace]) -> dict[int, int]:
    """Count the white pixels of a mask inside each track's boxes, in one pass over the mask.

    Args:
        mask_path: Video (or folder of pictures) with the frames of the masked video; a mask of
            another size is taken to show the same picture.
        seen: Faces, frames in ascending order.

    Returns:
        Track number -> pixels of the mask, summed over the frames; only tracks with any, unless
        none of the white lies in a box: then every track with 0. Empty when the mask cannot be
        used: it cannot be read, lacks a frame, or is black in all of them.
    """
    in_frame: dict[int, list[SeenFace]] = defaultdict(list)
    for one in seen:
        in_frame[one.frame_index].append(one)
    areas = {one.track_id: 0 for one in seen}
    total = 0
    try:
        with closing(_open_mask(mask_path, _These(tuple(in_frame)))) as masks:
            for mask in masks:
                white = mask.image.max(axis=2) >= _WHITE_FROM  # (H, W)
                total += int(np.count_nonzero(white))
                for one in in_frame[mask.frame_index]:
                    areas[one.track_id] += _white_inside(white, one)
    except VideoError:
        return {}  # the manifest tells: person_choice is then "largest" for a video with a mask
    return areas if total else {}


def _white_inside(white: np.ndarray, one: SeenFace) -> int:
    height, width = white.shape
    scale = np.array([width, height, width, height]) / (one.frame_size * 2)
    left, top, right, bottom = np.maximum(0, np.rint(one.face.box_xyxy * scale)).astype(int)
    return int(np.count_nonzero(white[top:bottom, left:right]))


def _open_mask(path: Path, sampling: Sampling) -> Generator[Frame, None, None]:
    sequence = find_sequence(path)
    return read_frames(path, sampling=sampling) if sequence is None else read_sequence(sequence, sampling)


@dataclass(frozen=True)
class _These:
    """The frames with these indices, or an error where the clip is shorter."""

    indices: tuple[int, ...]

    def frame_indices(
        self, metadata: VideoMetadata, *, times_seconds: Sequence[float] | None = None
    ) -> Sequence[int]:
        if self.indices[-1] >= metadata.num_frames:
            raise VideoTruncatedError(
                metadata.path, f"has {metadata.num_frames} frames, fewer than its video", "fetch it again"
            )
        return self.indices
