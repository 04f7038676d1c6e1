"""Crops to explain: from clips and images, cut as in scoring, or from a manifest."""

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
from deepfake_detect.faces import MtcnnDetector, TrackedFrame, confirmed_tracks, track_faces
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import CropGeometry
from deepfake_detect.video import EvenlySpaced, read_frames


@dataclass(frozen=True, eq=False)
class SourceCrop:
    """A crop to explain.

    Attributes:
        image: RGB uint8 (H, W, 3).
        name: File or video, and frame.
        label: 1 for fake, 0 for real, ``None`` where unknown.
    """

    image: np.ndarray
    name: str
    label: int | None = None


# The crops of one person in one clip, in order of time.
PersonCrops = list[SourceCrop]


def first_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Return an image, or the first frame of a clip, as RGB uint8 (H, W, 3), upright.

    Raises:
        VideoError: The file is missing or holds no image.
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
    """Cut the faces out of evenly spaced frames of a clip or an image, as scoring does.

    Returns:
        The crops of each person, those visible in most frames first.

    Raises:
        VideoError: The file cannot be read, or shows no face.
        OptionError: ``num_frames`` is below 1.
    """
    followed: list[TrackedFrame] = []
    frames = read_frames(path, sampling=EvenlySpaced(num_frames))
    with closing(frames), progress_bar(enabled=show_progress) as progress:
        task = progress.add_task(f"faces of {os.path.basename(path)}", total=num_frames, note="frames")
        for frame in track_faces(frames, detector=MtcnnDetector(device=device), geometry=geometry):
            followed.append(frame)
            progress.advance(task)
    people = confirmed_tracks((face.track_id, face.face.score) for one in followed for face in one.faces)
    if not people:
        cause = f"shows no face in {len(followed)} frame{'s'[: len(followed) > 1]}"
        raise VideoError(path, cause, "pass a clip with faces, or face crops as `crops`")
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
    """Read crops of randomly sampled videos, half of each class where there are enough.

    Args:
        rows: Rows to sample from.
        geometry: Of the detector's crops; wider stored crops are narrowed to it.
        num_videos: Number of videos, 1 or more.
        per_video: Most crops of each video, 1 or more, evenly spaced, of its first person.
        seed: Of the sampling.

    Returns:
        The crops of each video, fakes and reals in turn.

    Raises:
        ManifestError: There is no row, or a crop cannot be read.
        OptionError: The crops are narrower than the detector's, or a number is below 1.
    """
    fraction = crop_fraction(rows.geometry, geometry)
    sampled = rows.sample_videos((num_videos + 1) // 2, per=["label"], seed=seed)
    table = sampled.query(
        "select video_id, label, list(path order by frame_index) as paths, "
        "list(frame_index order by frame_index) as numbers from rows "
        "where track_id is not distinct from (select min(track_id) from rows as other "
        "where other.video_id = rows.video_id) group by video_id, label "
        "order by row_number() over (partition by label order by video_id), label desc"
    ).to_pylist()
    if not table:
        raise ManifestError(rows.path, "has no matching crops", "choose another split or condition")
    return [_person_of(rows, video, fraction, per_video) for video in table[:num_videos]]


def _person_of(rows: Manifest, video: dict[str, Any], fraction: float, count: int) -> PersonCrops:
    paths, numbers = video["paths"], video["numbers"]
    # The middles of as many equal parts, so that a single crop is that of the middle of the clip.
    chosen = sorted({int((part + 0.5) * len(paths) / count) for part in range(count)})
    return [
        SourceCrop(
            center_crop(read_crop(rows.root / paths[index]), fraction),
            f"{video['video_id']} frame {numbers[index]}",
            video["label"],
        )
        for index in chosen
    ]
