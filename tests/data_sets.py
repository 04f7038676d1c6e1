"""Real data that some tests read: what it is, where it comes from, its terms, and whether it is here.

    python tests/data_sets.py

The folder is that of the environment variable DEEPFAKE_DETECT_TEST_DATA, by default shared/data next to the
checkout. Nothing in it belongs to the project or may be distributed with it. A test whose file is missing is
skipped, and names the file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

VARIABLE = "DEEPFAKE_DETECT_TEST_DATA"
_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


class DataSet(NamedTuple):
    """Files of one source."""

    name: str
    files: tuple[str, ...]
    source: str
    terms: str


DATA_SETS = (
    DataSet(
        "clips of the Deepfake Detection Challenge",
        ("videos/aajsqyyjni.mp4", "videos/abofeumbvv.mp4", "videos/anndvqgoko.mp4"),
        "train_sample_videos of kaggle.com/c/deepfake-detection-challenge",
        "the challenge's: research, after accepting its rules",
    ),
    DataSet(
        "clips forged as in FaceForensics++",
        ("videos/003_000.mp4", "videos/0017_fake.mp4"),
        "manipulated videos of github.com/ondyari/FaceForensics, after filling in its form: any two, renamed",
        "FaceForensics++'s: research, non-commercial",
    ),
    DataSet(
        "examples of facenet-pytorch",
        ("videos/facenet_pytorch_example.mp4", "videos/multiface.jpg"),
        "examples/video.mp4 and data/multiface.jpg of github.com/timesler/facenet-pytorch",
        "MIT",
    ),
    DataSet(
        "example of face_recognition",
        ("videos/short_hamilton_clip.mp4",),
        "examples/short_hamilton_clip.mp4 of github.com/ageitgey/face_recognition",
        "MIT",
    ),
    DataSet(
        "Labeled Faces in the Wild",
        ("lfw/lfw_2000.tar",),
        "vis-www.cs.umass.edu/lfw, deep-funneled: a tar of 28 or more of its JPEG files",
        "research",
    ),
    DataSet(
        "face crops of the Deepfake Detection Challenge",
        ("dfdc_faces/val-000.tar",),
        "faces of the challenge's videos, as `extract-faces --format jpg` cuts them: a tar of 300 or more",
        "the challenge's: research, after accepting its rules",
    ),
)


def data_folder() -> Path:
    """Return the folder of the data, which need not exist unless the variable names it.

    Raises:
        NotADirectoryError: The variable names no folder.
    """
    given = os.environ.get(VARIABLE)
    if given and not Path(given).is_dir():
        raise NotADirectoryError(f"{VARIABLE}: {given} is no folder; unset it, or set it to a folder")
    return Path(given) if given else _DEFAULT


def main() -> int:
    """Print the data sets; return 1 if a file is missing."""
    folder = data_folder()
    print(f"{VARIABLE}: {folder}\n")
    missing = [name for one in DATA_SETS for name in one.files if not (folder / name).is_file()]
    for one in DATA_SETS:
        files = [f"{name} ({'missing' if name in missing else 'present'})" for name in one.files]
        print(f"{one.name}\n  files   {', '.join(files)}\n  source  {one.source}\n  terms   {one.terms}")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
