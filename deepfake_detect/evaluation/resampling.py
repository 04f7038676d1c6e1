"""Which samples a bootstrap resamples together: a video, or all videos of a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.options import Resample
from deepfake_detect.evaluation.score_table import ScoreTable, VideoSamples


def describe_resampling(resample: Resample, num_videos_alone: int) -> str:
    """Return what is resampled, in words.

    Example:
        >>> describe_resampling("videos", 0), describe_resampling("identities", 3)
        ('videos', 'identities (3 videos without a known person are resampled alone)')
    """
    if resample == "videos":
        return "videos"
    return f"identities ({num_videos_alone:,} videos without a known person are resampled alone)"


def resampling_groups(
    sources: Sequence[tuple[ScoreTable, VideoSamples]], video_ids: np.ndarray, resample: Resample
) -> tuple[np.ndarray, int]:
    """Return the group of each video, int64 (V,) from 0, and the number of videos without a known person.

    The first table whose detail ``identity`` names a video's person counts.

    Raises:
        OptionError: No person is known.
    """
    if resample == "videos":
        return np.arange(len(video_ids)), 0
    people: dict[str, str] = {}
    for table, videos in reversed(sources):
        if "identity" in table.details:
            _, first_row = np.unique(videos.of_row, return_index=True)
            known = zip(videos.video_id.tolist(), table.details["identity"][first_row].tolist(), strict=True)
            people |= {video: str(one) for video, one in known if one == one and one not in (None, "")}
    names = [f"person {people[one]}" if one in people else f"video {one}" for one in video_ids.tolist()]
    num_alone = sum(one not in people for one in video_ids.tolist())
    if num_alone == len(names):
        raise OptionError("resample", "is identities, and the scores name none", "fill the column identity")
    numbers: np.ndarray = np.unique(names, return_inverse=True)[1]
    return numbers, num_alone
