"""Clip -> verdict: one clip, many, or a stream.

options      the options of scoring, batches and live video
pipeline     frames -> faces -> crops -> probabilities -> verdict, with any runtime
detector     load_detector, score_video, score_image, score_frames
panel        several detectors on the same faces
quality      warnings that make a verdict less certain
sources      files, folders, URLs and standard input -> a list of clips
fetch        URL -> file, deleted after it was scored
clip_scorer  one clip -> its result, or the error that prevented one
outputs      the files that are written about clips
batch        score_videos: many clips, here, in processes or on a Ray cluster
results      one row per clip in CSV or Parquet; an interrupted run resumes from it
live         a camera or stream -> a verdict over the last seconds
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
