"""Videos or crops behind URLs: each worker downloads its video and uploads its crops.

The run itself works on a local folder that holds what is small: an empty file for each video, by which
layouts recognize the dataset, and the index of what is done. A video's crops are uploaded before its
index file, by which it counts as done, so a worker may crash at any time. There is no lock: two runs
that write to one URL at the same time are not detected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deepfake_detect.data.manifest import MANIFEST_NAME
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.extraction.store import failure_path, index_path
from deepfake_detect.extraction.video import Job, VideoExtraction
from deepfake_detect.io.fetch import RemoteDir, is_url
from deepfake_detect.io.files import make_folder
from deepfake_detect.io.scratch import scratch_folder
from deepfake_detect.records import DatasetVideo

_DESCRIBING = (".json", ".csv", ".txt")  # files in which owners describe their videos
_MAX_DESCRIBING_BYTES = 64 * 2**20
_SETTINGS = "settings.json"
_SUMMARIES = (MANIFEST_NAME, "failures.csv", "missing.csv", _SETTINGS)
_FILES = (".parquet", ".csv")


@dataclass(frozen=True)
class Remote:
    """Which of videos and crops are behind a URL.

    Attributes:
        videos: Folder of the videos, to which their paths are relative; ``None`` if it is local.
        out: Folder of crops and manifest; ``None`` if it is local.
    """

    videos: RemoteDir | None = None
    out: RemoteDir | None = None


@contextmanager
def local_folders(
    root: str | os.PathLike[str], out: str | os.PathLike[str]
) -> Iterator[tuple[Path, Path, Remote]]:
    """Give local folders for the input and output of a run, temporary ones in place of URLs.

    Yields:
        Local root, local output folder, and what they stand for.

    Raises:
        OptionError: A URL cannot be listed, or is that of a single file.
        DatasetLayoutError: There is nothing at the dataset's URL.
    """
    with ExitStack() as stack:
        local_root, local_out, remote = Path(root), Path(out), Remote()
        if is_url(root):
            url = str(root)
            if url.endswith(_FILES):
                raise OptionError(url, "is a file", "pass the folder of videos, or copy the file")
            remote = replace(remote, videos=RemoteDir(url))
            # With the same name: a dataset without a layout of its own is named after its folder.
            local_root = make_folder(
                stack.enter_context(scratch_folder()) / url.rstrip("/").rpartition("/")[2]
            )
            mirror_names(RemoteDir(url), local_root)
        if is_url(out):
            remote = replace(remote, out=RemoteDir(str(out)))
            local_out = stack.enter_context(scratch_folder())
        yield local_root, local_out, remote


def mirror_names(videos: RemoteDir, folder: Path) -> None:
    """Make the files of a remote folder in an empty local one, for the layouts to read: those that describe
    the videos are downloaded, all others are empty.

    Raises:
        DatasetLayoutError: The remote folder is empty or does not exist.
        OptionError: It cannot be listed.
    """
    files = videos.files()
    if not files:
        raise DatasetLayoutError(videos.url, "is empty or does not exist", "check the URL")
    describing = [
        name for name, size in files.items() if name.endswith(_DESCRIBING) and size <= _MAX_DESCRIBING_BYTES
    ]
    videos.fetch_all(describing, folder, note="descriptions")
    for name in files.keys() - set(describing):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def below(video: DatasetVideo, folder: Path) -> DatasetVideo:
    """Return a video with its paths relative to a folder."""
    mask = None if video.mask_path is None else video.mask_path.relative_to(folder)
    return replace(video, path=video.path.relative_to(folder), mask_path=mask)


def fetch_index(out: RemoteDir, folder: Path) -> set[str]:
    """Download settings and index of an earlier run; return the names of all remote files."""
    names = set(out.files())
    wanted = sorted(name for name in names if name == _SETTINGS or name.startswith("index/"))
    out.fetch_all(wanted, folder, note="finished videos")
    return names


def fetch_ended(out: RemoteDir, folder: Path, videos: Sequence[DatasetVideo]) -> None:
    """Download the index files of videos that workers have just processed."""
    there, new = out.files(), []
    for path in [one for video in videos for one in (index_path(folder, video), failure_path(folder, video))]:
        path.unlink(missing_ok=True)
        new.append(path.relative_to(folder).as_posix())
    out.fetch_all([name for name in new if name in there], folder, note="finished videos")


def publish_summaries(out: RemoteDir, folder: Path) -> None:
    """Upload manifest, lists and settings."""
    for name in _SUMMARIES:
        if (folder / name).exists():
            out.put(folder / name, name)


class RemoteExtractor:
    """Extracts a video whose file, or whose output folder, is behind a URL, with a local extractor."""

    def __init__(self, extract: Callable[[Job], None], remote: Remote) -> None:
        self._extract = extract
        self._remote = remote

    def __call__(self, job: Job) -> None:
        with scratch_folder() as folder:
            here = replace(job, out=job.out if self._remote.out is None else folder / "out")
            try:
                here = self._fetched(here, folder)
            except Exception as error:  # recorded as the video's failure, unless the disk is full
                VideoExtraction(here).end(error)
            else:
                self._extract(here)
            if self._remote.out is not None:
                publish(self._remote.out, here)

    def _fetched(self, job: Job, folder: Path) -> Job:
        if self._remote.videos is None:
            return job
        local = {}
        for name in ("path", "mask_path"):
            path = getattr(job.video, name)
            if path is not None:
                local[name] = folder / name / path.name
                self._remote.videos.fetch(path.as_posix(), local[name])
        return replace(job, local=replace(job.video, **local))


def publish(out: RemoteDir, job: Job) -> None:
    """Upload a video's crops and then the file by which it counts as done."""
    for path in sorted((job.out / "crops").rglob("*")):
        if path.is_file():
            out.put(path, path.relative_to(job.out).as_posix())
    for path in (index_path(job.out, job.video), failure_path(job.out, job.video)):
        name = path.relative_to(job.out).as_posix()
        out.put(path, name) if path.exists() else out.remove(name)
