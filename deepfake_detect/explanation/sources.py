"""Crops to explain: of clips and pictures, cut as in scoring, or of a manifest."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.crops import crop_fraction, read_crop
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.transforms import center_crop
from deepfake_detect.errors import ManifestError, VideoError
from deepfake_detect.faces import FaceDetector, FollowedFrame, confirmed_tracks, follow_faces
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import CropGeometry
from deepfake_detect.video import EvenlySpaced, read_frames


@dataclass(frozen=True, eq=False)
class SourceCrop:
    """A crop to explain.

    Attributes:
        picture: RGB uint8 (H, W, 3).
        name: What it is called.
        label: 1 for fake, 0 for real, ``None`` where not known.
    """

    picture: np.ndarray
    name: str
    label: int | None = None


# Those of one person in one clip, in the order of time.
PersonCrops = list[SourceCrop]


def picture_of(path: str | os.PathLike[str]) -> np.ndarray:
    """Return a picture, or the first frame of a clip, as RGB uint8 (H, W, 3), upright.

    Raises:
        VideoError: The file is missing or holds no picture.
    """
    with closing(read_frames(path, sampling=EvenlySpaced(1))) as frames:
        return next(iter(frames)).image


def crops_of_clip(
    path: str | os.PathLike[str],
    *,
    geometry: CropGeometry,
    num_frames: int,
    device: torch.device,
    show_progress: bool = True,
) -> list[PersonCrops]:
    """Cut the faces out of evenly spaced frames, as scoring does.

    Args:
        path: A clip, or a picture.
        geometry: Of the detector's crops.
        num_frames: Frames to look at, from 1.
        device: Where the face detector shall run.
        show_progress: Whether to draw a progress bar.

    Returns:
        The crops of each person, those seen in most frames first.

    Raises:
        VideoError: The file cannot be read, or shows no face.
        OptionError: ``num_frames`` is below 1.
    """
    followed: list[FollowedFrame] = []
    frames = read_frames(path, sampling=EvenlySpaced(num_frames))
    with closing(frames), progress_bar(enabled=show_progress) as progress:
        task = progress.add_task(f"faces of {os.path.basename(path)}", total=num_frames, note="frames")
        for frame in follow_faces(frames, detector=FaceDetector(device=device), geometry=geometry):
            followed.append(frame)
            progress.advance(task)
    people = confirmed_tracks((face.track_id, face.face.score) for one in followed for face in one.faces)
    if not people:
        cause = f"shows no face in its {len(followed)} frame{'s'[: len(followed) > 1]} looked at"
        raise VideoError(path, cause, "pass a clip with faces, or pictures that are crops with --crops")
    found: dict[int, PersonCrops] = {}
    for frame in followed:
        for face in frame.faces:
            if face.track_id in people:
                name = f"{os.path.basename(path)} frame {frame.frame_index}"
                found.setdefault(face.track_id, []).append(SourceCrop(face.crop, name))
    return sorted(found.values(), key=len, reverse=True)


def crops_of_manifest(
    rows: Manifest, *, geometry: CropGeometry, num_videos: int, per_video: int, seed: int = 0
) -> list[PersonCrops]:
    """Read crops of videos drawn at random, half of each class as far as there are.

    Args:
        rows: Rows to draw from.
        geometry: Of the detector's crops; wider stored ones are narrowed to it.
        num_videos: How many, from 1.
        per_video: Crops of each at most, from 1, evenly spaced, of its first person.
        seed: Of the draw.

    Returns:
        The crops of each video, fakes and reals in turn.

    Raises:
        ManifestError: There is no row, or a crop cannot be read.
        OptionError: The crops are narrower than the detector's, or a number is below 1.
    """
    share = crop_fraction(rows.geometry, geometry)
    drawn = rows.sample_videos((num_videos + 1) // 2, per=["label"], seed=seed)
    table = drawn.query(
        "select video_id, label, list(path order by frame_index) as paths, "
        "list(frame_index order by frame_index) as numbers from rows "
        "where track_id is not distinct from (select min(track_id) from rows as other "
        "where other.video_id = rows.video_id) group by video_id, label "
        "order by row_number() over (partition by label order by video_id), label desc"
    ).to_pylist()
    if not table:
        raise ManifestError(rows.path, "has no such crop", "choose another split or condition")
    return [_person_of(rows, video, share, per_video) for video in table[:num_videos]]


def _person_of(rows: Manifest, video: dict[str, Any], share: float, count: int) -> PersonCrops:
    paths, numbers = video["paths"], video["numbers"]
    # The middle of as many equal parts: the only one of a clip is that of its middle.
    places = sorted({int((part + 0.5) * len(paths) / count) for part in range(count)})
    return [
        SourceCrop(
            center_crop(read_crop(rows.root / paths[place]), share),
            f"{video['video_id']} frame {numbers[place]}",
            video["label"],
        )
        for place in places
    ]
