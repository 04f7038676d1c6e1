"""Clip -> verdict: one clip, or many of them, or a stream.

pipeline     frames -> faces -> crops -> probabilities -> verdict, whatever runs the networks
detector     load_detector and score_video
clip_score   what came of a clip
quality      what makes a verdict less certain
sources      files, folders, URLs and standard input -> a list of clips
fetch        a URL -> a file, deleted after it was scored
clip_scorer  one clip -> its result, or the error that stands in its place
pool         several clips at a time, each process with a detector of its own
on_cluster   the same on the machines of a Ray cluster
results      a row per clip in CSV or Parquet; resumes where an earlier run ended
live         a camera or stream -> a verdict over the last seconds
"""

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
