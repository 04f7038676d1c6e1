"""A dataset's videos -> face crops and a manifest; resumable and parallel.

    dataset    extract_faces: a whole dataset, from its folder to the manifest
    config     ExtractionConfig: how crops are made and stored
    person     whose faces of a video are kept: by the published mask, the largest, or all
    store      crops, index and settings on disk, each moved into place in one step
    video      one video: frames and faces in, crops and manifest rows out
    pipeline   reading, detecting and writing at the same time, on bounded queues
    run        extract_videos: all videos, in one process or several

On disk, under the output folder:

    crops/<video_id>/<frame>_<track>.png   the crops, in the frame's own resolution; with
    crops/<video_id>.tar                   store="shards" one tar a video holds them
    index/<video_id>.parquet               one video's manifest rows, written after its crops
    index/<video_id>.failure.json          why a video gave no crops
    settings.json                          how the crops were made
    manifest.parquet, failures.csv         all of the index in one, rewritten at the end

A video counts as done once its index file exists, which is written in one step after its crops. A run
that is killed loses at most the videos in progress; calling it again resumes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
