"""Many clips, wherever they are: what was named -> clips -> verdicts -> a table that grows.

sources    files, folders, addresses and standard input -> a list of clips
fetch      what an address names -> a file, kept no longer than it is judged
judge      one clip -> its verdict, or why there is none
pool       several clips at a time, each process with a detector of its own
on_cluster the same on the machines of a Ray cluster
results    a row a clip in CSV or Parquet; goes on where an earlier run ended
live       a camera or stream -> a verdict over the last seconds
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.clips.judge import ClipResult, Judge, ScoringOptions
    from deepfake_detect.clips.live import LiveVerdict, live_frames, watch
    from deepfake_detect.clips.on_cluster import judge_on_cluster
    from deepfake_detect.clips.pool import default_num_workers, judge_clips
    from deepfake_detect.clips.results import ResultsTable, settings_of
    from deepfake_detect.clips.sources import ClipSource, find_clips

# Loaded on first use: what to judge is known, and refused, before the networks are there.
_HOMES = {
    "ClipResult": "judge",
    "ClipSource": "sources",
    "Judge": "judge",
    "LiveVerdict": "live",
    "ResultsTable": "results",
    "ScoringOptions": "judge",
    "default_num_workers": "pool",
    "find_clips": "sources",
    "judge_clips": "pool",
    "judge_on_cluster": "on_cluster",
    "live_frames": "live",
    "settings_of": "results",
    "watch": "live",
}

__all__ = [
    "ClipResult",
    "ClipSource",
    "Judge",
    "LiveVerdict",
    "ResultsTable",
    "ScoringOptions",
    "default_num_workers",
    "find_clips",
    "judge_clips",
    "judge_on_cluster",
    "live_frames",
    "settings_of",
    "watch",
]

__getattr__ = lazy_names(__name__, _HOMES)
