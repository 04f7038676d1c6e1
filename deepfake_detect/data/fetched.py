"""Manifests behind URLs: the crops or shards they name are fetched once a machine, then read here.

A training draws pairs of crops in any order, which a stream of shards cannot give; from a copy it
splits them evenly among its processes and takes them up after an interruption as from any folder.
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

_LOCK_NAME = ".lock"
_SHARDS_AT_ONCE = 2  # each may be of a gigabyte


def local_manifest(place: str | os.PathLike[str], *, folder: Path | None = None) -> Path:
    """Return the path of a manifest; behind a URL, fetch it and all crops it names first.

    What is here with the size it has there is not fetched again, so a broken fetch goes on where it
    stopped. Another manifest there begins anew. Several processes may ask at once: one fetches.

    Args:
        place: Path, or URL as fsspec takes it, such as ``s3://bucket/packed/manifest.parquet``; crops
            are below its folder, one by one or in the tar shards of :func:`pack_manifest`.
        folder: Where to keep copies; ``manifests`` in :func:`cache_folder` when ``None``.

    Raises:
        OptionError: The URL cannot be listed, or is not that of a Parquet file.
        ManifestError: There is no such manifest, or crops it names are not there.
        FetchError: A file cannot be fetched.

    Example:
        >>> local_manifest("crops/manifest.parquet").as_posix()
        'crops/manifest.parquet'
    """
    url = str(place)
    if not is_url(url):
        return Path(place)
    base, _, name = url.rpartition("/")
    if not name.endswith(".parquet"):
        raise OptionError(url, "is not a Parquet file", f"pass the URL of the {MANIFEST_NAME}")
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    target = make_folder((folder or cache_folder() / "manifests") / key)
    with FileLock(target / _LOCK_NAME):
        _fetch(RemoteDir(base), name, target)
    return target / name


def _fetch(there: RemoteDir, name: str, folder: Path) -> None:
    url = f"{there.url}/{name}"
    sizes = there.files()
    if name not in sizes:
        raise ManifestError(url, "is not there", "check the URL")
    _renew_manifest(there, name, folder)
    wanted = _files_named(folder / name)
    if outside := [one for one in wanted if one.startswith("/") or ".." in PurePosixPath(one).parts]:
        raise ManifestError(url, f"names a file outside its folder, {outside[0]}", "mend it")
    if absent := sorted(wanted - sizes.keys()):
        cause = f"names {len(absent):,} files that are not there, as {absent[0]}"
        raise ManifestError(url, cause, "copy them")
    stale = [one for one in sorted(wanted) if not _is_whole(folder / one, sizes[one])]
    shards = [one for one in stale if one.endswith(SHARD_SUFFIX)]
    there.fetch_all(shards, folder, note="shards", at_once=_SHARDS_AT_ONCE)
    there.fetch_all([one for one in stale if not one.endswith(SHARD_SUFFIX)], folder, note="crops")


def _renew_manifest(there: RemoteDir, name: str, folder: Path) -> None:
    """Fetch the manifest; where it is another than last time, forget the files of that time."""
    known = folder / name
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / name
        there.fetch(name, fresh)
        if known.is_file() and known.read_bytes() == fresh.read_bytes():
            return
        for path in folder.iterdir():
            if path.name not in (_LOCK_NAME, Path(scratch).name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        os.replace(fresh, known)


def _files_named(manifest: Path) -> set[str]:
    """Return the crops of a manifest, or the shards they are in, relative to its folder."""
    return {_stored_in(path) for path in read_manifest(manifest).columns(["path"])["path"].to_pylist()}


def _stored_in(path: str) -> str:
    parts = PurePosixPath(path)
    for parent in parts.parents:
        if parent.suffix == SHARD_SUFFIX:
            return parent.as_posix()
    return parts.as_posix()


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
