"""Manifests behind URLs: they are downloaded once per machine with the crops or shards they name.

Training reads pairs of crops in random order, which a stream of shards cannot provide; with a local copy
it can also distribute them evenly among processes and resume after an interruption.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from filelock import FileLock

from deepfake_detect.data.manifest import MANIFEST_NAME, read_manifest
from deepfake_detect.data.shards import SHARD_SUFFIX
from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.io.fetch import RemoteDir, is_url
from deepfake_detect.io.files import cache_folder, make_folder
from deepfake_detect.plurals import counted

_LOCK_NAME = ".lock"
_SHARDS_AT_ONCE = 2  # each may have a gigabyte


def local_manifest(manifest: str | os.PathLike[str], *, folder: Path | None = None) -> Path:
    """Return the local path of a manifest; download it and the crops it names if it is a URL.

    Files that are already present with the right size are not downloaded again, so an interrupted
    download resumes. If the manifest has changed, the copy is deleted first. Several processes may call
    this at once: one downloads.

    Args:
        manifest: Path, or URL for fsspec, such as ``s3://bucket/packed/manifest.parquet``; crops are
            below its folder, as files or in the tar shards of :func:`pack_manifest`.
        folder: Folder for copies; ``manifests`` in :func:`cache_folder` when ``None``.

    Raises:
        OptionError: The URL cannot be listed, or is not that of a Parquet file.
        ManifestError: The manifest or crops that it names do not exist.
        FetchError: A file cannot be downloaded.

    Example:
        >>> local_manifest("crops/manifest.parquet").as_posix()
        'crops/manifest.parquet'
    """
    url = str(manifest)
    if not is_url(url):
        return Path(manifest)
    base, _, name = url.rpartition("/")
    if not name.endswith(".parquet"):
        raise OptionError(url, "is not a Parquet file", f"pass the URL of the {MANIFEST_NAME}")
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    target = make_folder((folder or cache_folder() / "manifests") / key)
    with FileLock(target / _LOCK_NAME):
        _fetch(RemoteDir(base), name, target)
    return target / name


def _fetch(remote: RemoteDir, name: str, folder: Path) -> None:
    url = f"{remote.url}/{name}"
    sizes = remote.files()
    if name not in sizes:
        raise ManifestError(url, "does not exist", "check the URL")
    _update_manifest(remote, name, folder)
    wanted = {_file_of(path) for path in read_manifest(folder / name).columns(["path"])["path"].to_pylist()}
    if outside := [one for one in wanted if one.startswith("/") or ".." in PurePosixPath(one).parts]:
        raise ManifestError(url, f"names a file outside its folder, {outside[0]}", "write it again")
    if absent := sorted(wanted - sizes.keys()):
        do = "does" if len(absent) == 1 else "do"
        cause = f"names {counted(len(absent), 'file')} that {do} not exist, such as {absent[0]}"
        raise ManifestError(url, cause, "upload them")
    sizes_here = {one: (folder / one).stat().st_size for one in wanted if (folder / one).is_file()}
    stale = [one for one in sorted(wanted) if sizes_here.get(one) != sizes[one]]
    shards = [one for one in stale if one.endswith(SHARD_SUFFIX)]
    remote.fetch_all(shards, folder, note="shards", at_once=_SHARDS_AT_ONCE)
    remote.fetch_all([one for one in stale if not one.endswith(SHARD_SUFFIX)], folder, note="crops")


def _update_manifest(remote: RemoteDir, name: str, folder: Path) -> None:
    """Download the manifest; if it has changed since the last time, delete all other files."""
    known = folder / name
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / name
        remote.fetch(name, fresh)
        if known.is_file() and known.read_bytes() == fresh.read_bytes():
            return
        for path in folder.iterdir():
            if path.name not in (_LOCK_NAME, Path(scratch).name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        os.replace(fresh, known)


def _file_of(path: str) -> str:
    """Return the shard that contains a crop, or the crop's own file."""
    parts = PurePosixPath(path)
    for parent in parts.parents:
        if parent.suffix == SHARD_SUFFIX:
            return parent.as_posix()
    return parts.as_posix()
