"""Videos or crops behind URLs: each worker fetches its video, and puts its crops where they belong.

The run itself works on a folder here that holds what is small: a file of no bytes for each video, so
that the layouts find what they know, and the index of what is done. A video's crops are put in place
before its file of the index, by which it counts as done, so that a worker may die at any time. There
is no lock: two runs that write to one URL at the same time are not told apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepfake_detect.data.manifest import MANIFEST_NAME
from deepfake_detect.errors import DatasetLayoutError, DeepfakeDetectError
from deepfake_detect.extraction.store import failure_path, index_path
from deepfake_detect.extraction.video import Job, VideoExtraction
from deepfake_detect.io.fetch import RemoteDir
from deepfake_detect.records import DatasetVideo

_TOLD_BY = (".json", ".csv", ".txt")  # files in which owners say what their videos are
_LARGEST_TELLING_BYTES = 64 * 2**20
_INDEX = "index/"
_SETTINGS = "settings.json"
_SUMMARIES = (MANIFEST_NAME, "failures.csv", "missing.csv", _SETTINGS)


@dataclass(frozen=True)
class Remote:
    """Which of the two places are behind a URL.

    Attributes:
        videos: Where the videos are; their paths are relative to it. ``None``: here.
        out: Where crops and manifest go. ``None``: here.
    """

    videos: RemoteDir | None = None
    out: RemoteDir | None = None


def mirror_names(videos: RemoteDir, folder: Path) -> None:
    """Make a tree here with the names of the one there, for the layouts to read.

    Args:
        videos: A dataset's root.
        folder: Existing and empty. Files in which owners tell of their videos are fetched; all others
            are there without their content.

    Raises:
        DatasetLayoutError: There is nothing.
        OptionError: It cannot be listed.
    """
    files = videos.files()
    if not files:
        raise DatasetLayoutError(videos.url, "holds no file, or is not there", "check the URL")
    telling = [
        name for name, size in files.items() if name.endswith(_TOLD_BY) and size <= _LARGEST_TELLING_BYTES
    ]
    videos.fetch_all(telling, folder, note="what the owners tell")
    for name in files.keys() - set(telling):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def below(video: DatasetVideo, folder: Path) -> DatasetVideo:
    """Return a video with its paths relative to a mirror's folder."""
    mask = None if video.mask_path is None else video.mask_path.relative_to(folder)
    return replace(video, path=video.path.relative_to(folder), mask_path=mask)


def fetch_index(out: RemoteDir, folder: Path) -> set[str]:
    """Fetch what an earlier run left of settings and index; return the names of all files there."""
    names = set(out.files())
    wanted = [name for name in names if name == _SETTINGS or name.startswith(_INDEX)]
    out.fetch_all(sorted(wanted), folder, note="what is done")
    return names


def fetch_ended(out: RemoteDir, folder: Path, videos: Sequence[DatasetVideo]) -> None:
    """Fetch the index's files of videos that workers have just ended."""
    names = out.files()
    places = [place for video in videos for place in (index_path(folder, video), failure_path(folder, video))]
    for place in places:
        place.unlink(missing_ok=True)
    new = [place.relative_to(folder).as_posix() for place in places]
    out.fetch_all([name for name in new if name in names], folder, note="what was done")


def publish_summaries(out: RemoteDir, folder: Path) -> None:
    """Put manifest, lists and settings there."""
    for name in _SUMMARIES:
        if (folder / name).exists():
            out.put(folder / name, name)


class RemoteExtractor:
    """Extracts a video whose file, or whose crops' place, is behind a URL.

    Args:
        extract: What extracts a video with local places.
        remote: Where the places are.
    """

    def __init__(self, extract: Callable[[Job], None], remote: Remote) -> None:
        self._extract = extract
        self._remote = remote

    def __call__(self, job: Job) -> None:
        with tempfile.TemporaryDirectory(prefix="deepfake_detect.") as name:
            folder = Path(name)
            here = replace(job, out=job.out if self._remote.out is None else folder / "out")
            try:
                here = self._fetched(here, folder)
            except DeepfakeDetectError as error:
                VideoExtraction(here).end(error)
            else:
                self._extract(here)
            if self._remote.out is not None:
                publish(self._remote.out, here)

    def _fetched(self, job: Job, folder: Path) -> Job:
        if self._remote.videos is None:
            return job
        video = job.video
        local = replace(video, path=self._here(video.path, folder / "video"))
        if video.mask_path is not None:
            local = replace(local, mask_path=self._here(video.mask_path, folder / "mask"))
        return replace(job, local=local)

    def _here(self, path: Path, folder: Path) -> Path:
        assert self._remote.videos is not None
        self._remote.videos.fetch(path.as_posix(), folder / path.name)
        return folder / path.name


def publish(out: RemoteDir, job: Job) -> None:
    """Put a video's crops there, and last the file by which it counts as done."""
    ends = (index_path(job.out, job.video), failure_path(job.out, job.video))
    for path in sorted((job.out / "crops").rglob("*")):
        if path.is_file():
            out.put(path, path.relative_to(job.out).as_posix())
    for path in ends:
        name = path.relative_to(job.out).as_posix()
        out.put(path, name) if path.exists() else out.remove(name)
