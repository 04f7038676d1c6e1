"""Crops, index and settings on disk, each moved into place in one step."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_detect.data.failures import FAILURE_COLUMNS, failures_path, write_failures
from deepfake_detect.data.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    rows_to_table,
    with_later_columns,
    write_manifest,
)
from deepfake_detect.data.shards import SHARD_SUFFIX, is_stored, sample_members, write_shard
from deepfake_detect.errors import ManifestError, OptionError, OutputError
from deepfake_detect.extraction.config import ExtractionConfig
from deepfake_detect.io.files import atomic_path, make_folder, read_json, write_json
from deepfake_detect.records import DatasetVideo

_LONGEST_NAME_BYTES = 220
_PARTIAL = ".partial"
_PARTIAL_SHARD = "shard.tar"
LISTED_COLUMNS = ("dataset", "method", "label", "split", "compression", "target_id", "source_id")
_SEGMENTS = "fake_segments"


class CropFiles:
    """The crops of one video: written one by one into a hidden folder, then moved into place together."""

    def __init__(self, out: Path, video: DatasetVideo, config: ExtractionConfig) -> None:
        self._video = video
        self._suffix, self._parameters = config.suffix, config.encoding
        self._is_shard = config.store == "shards"
        self._stored = f"crops/{_stored_name(video)}"
        self._folder = out / self._stored
        self._partial = self._folder.with_name(f".{self._folder.name}{_PARTIAL}")
        make_folder(self._partial)  # a killed run may have left it: only the crops of this run are kept

    def add(self, key: str, image: np.ndarray) -> None:
        """Encode and write an RGB uint8 crop (H, W, 3) under a name without suffix."""
        # Not cv2.imwrite: on a full disk it reports success and leaves half an image.
        _, data = cv2.imencode(self._suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), self._parameters)
        with _disk_errors(self._folder):
            (self._partial / f"{key}{self._suffix}").write_bytes(data.tobytes())

    def commit(self, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Move crops into place and drop the others.

        Args:
            rows: Key -> row of the manifest of the crops that are kept.

        Returns:
            Key -> path relative to the extraction's folder.
        """
        names = {key: f"{key}{self._suffix}" for key in rows}
        with _disk_errors(self._folder):
            if self._is_shard:
                self._put_shard(names, rows)
            else:
                self._put_files(set(names.values()))
        stored = f"{self._stored}{SHARD_SUFFIX if self._is_shard else ''}"
        return {key: f"{stored}/{name}" for key, name in names.items()}

    def _put_files(self, kept: set[str]) -> None:
        for file in self._partial.iterdir():
            if file.name not in kept:
                file.unlink()
        # Only files are replaced: a video named a/b has its crops in a folder inside that of video a.
        if self._folder.exists():
            for file in self._folder.iterdir():
                if file.is_file():
                    file.unlink()
        if kept:
            make_folder(self._folder)
            for file in self._partial.iterdir():
                os.replace(file, self._folder / file.name)
            self._partial.rmdir()

    def _put_shard(self, names: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]) -> None:
        shard = Path(f"{self._folder}{SHARD_SUFFIX}")
        if not names:
            shard.unlink(missing_ok=True)
            return
        members = (
            member
            for key, name in names.items()
            for member in sample_members(
                key,
                self._suffix,
                (self._partial / name).read_bytes(),
                label=rows[key]["label"],
                video_id=self._video.video_id,
                frame_index=rows[key]["frame_index"],
            )
        )
        # Inside the hidden folder, so that a killed run leaves nothing outside it.
        write_shard(self._partial / _PARTIAL_SHARD, members)
        os.replace(self._partial / _PARTIAL_SHARD, shard)

    def discard(self) -> None:
        """Remove crops that were not moved into place."""
        shutil.rmtree(self._partial, ignore_errors=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into one that ends the run: a full disk is not a video's failure."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            path, f"cannot be written ({error.strerror})", "free some space, then run again to resume"
        ) from error


def _stored_name(video: DatasetVideo) -> str:
    """Return the id; a long name at its end is cut, since file systems allow 255 bytes with suffixes."""
    folder, slash, name = video.video_id.rpartition("/")
    data = os.fsencode(name)
    if len(data) <= _LONGEST_NAME_BYTES:
        return video.video_id
    start = data[: _LONGEST_NAME_BYTES - 20].decode("utf-8", "ignore")
    return f"{folder}{slash}{start}.{hashlib.sha256(data).hexdigest()[:16]}"


def index_path(out: Path, video: DatasetVideo) -> Path:
    """Return the path of a video's manifest rows; the file exists once the video is done."""
    return out / "index" / f"{_stored_name(video)}.parquet"


def failure_path(out: Path, video: DatasetVideo) -> Path:
    """Return the path of the record of why a video gave no crops."""
    return out / "index" / f"{_stored_name(video)}.failure.json"


def write_rows(out: Path, video: DatasetVideo, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a video's manifest rows; then it counts as done. Without rows, its failure says why."""
    if rows:
        with _disk_errors(out):
            failure_path(out, video).unlink(missing_ok=True)
    with atomic_path(index_path(out, video)) as temporary:
        pq.write_table(rows_to_table(rows), temporary)


def write_failure(out: Path, video: DatasetVideo, reason: str, message: str) -> None:
    """Record why a video gave no crops; rows of an earlier run are removed."""
    # They would name crops that this run could not make again.
    with _disk_errors(out):
        index_path(out, video).unlink(missing_ok=True)
    values = {**vars(video), "path": str(video.path), "reason": reason, "message": message}
    write_json(failure_path(out, video), {key: values[key] for key in FAILURE_COLUMNS})


def is_done(out: Path, video: DatasetVideo, *, there: Collection[str] | None = None) -> bool:
    """Return whether the video's rows and all crops they name exist, for remote crops among ``there``."""
    try:
        paths = pq.read_table(index_path(out, video), columns=["path"], partitioning=None)["path"].to_pylist()
    except (pa.ArrowInvalid, OSError):
        return False  # not there, or damaged from outside: extracted again
    if there is None:
        return all(is_stored(out / path) for path in paths)
    return all(path in there or path.rpartition("/")[0] in there for path in paths)  # a file, or in a tar


def open_folder(out: Path, config: ExtractionConfig) -> None:
    """Write the settings, or check that the crops of the folder were made with the same ones.

    Raises:
        OptionError: The folder holds crops made with other settings.
    """
    path = out / "settings.json"
    wanted = config.settings()
    stored = read_json(path) if path.exists() else wanted
    changed = [
        f"{key} {stored.get(key)} (now {value})" for key, value in wanted.items() if stored.get(key) != value
    ]
    if changed:
        cause = f"contains crops made with {', '.join(changed)}"
        raise OptionError(out, cause, "choose another folder, or the same options")
    if not path.exists():
        write_json(path, wanted)
    # What a killed run left: temporary files, and crops that were not moved into place.
    hidden = (".*.parquet", ".*.json", ".*.csv")
    with _disk_errors(out):
        for leftover in [path for one in hidden for path in [*out.glob(one), *(out / "index").rglob(one)]]:
            leftover.unlink()
        for folder, below, _ in os.walk(out / "crops"):
            for name in below:
                if name.startswith(".") and name.endswith(_PARTIAL):
                    shutil.rmtree(Path(folder, name))


def assemble(out: Path, config: ExtractionConfig, videos: Sequence[DatasetVideo]) -> None:
    """Rewrite manifest.parquet and failures.csv from the index.

    Label, split and so on of a video are those of the current listing, even if an earlier run extracted
    it: splits may have changed since. Videos of earlier runs that are not listed keep theirs.

    Raises:
        ManifestError: A file of the index is damaged.
    """
    index = out / "index"
    known = {video.video_id: video for video in videos}
    parts = [_read_part(path) for path in sorted(index.rglob("*.parquet"))]
    table = _as_listed(pa.concat_tables([MANIFEST_SCHEMA.empty_table(), *parts]), known)
    write_manifest(out / MANIFEST_NAME, table, geometry=config.geometry, codec=config.codec)
    failures = [read_json(path) for path in sorted(index.rglob("*.failure.json"))]
    for failure in failures:
        if failure["video_id"] in known:
            failure.update({name: getattr(known[failure["video_id"]], name) for name in LISTED_COLUMNS})
    write_failures(failures_path(out / MANIFEST_NAME), failures)


def _as_listed(table: pa.Table, known: Mapping[str, DatasetVideo]) -> pa.Table:
    """Return rows with the values that the listing has for their videos."""
    encoded = table["video_id"].combine_chunks().dictionary_encode()
    videos = [known.get(name) for name in encoded.dictionary.to_pylist()]
    is_listed = pa.array([video is not None for video in videos], pa.bool_()).take(encoded.indices)
    for name in (*LISTED_COLUMNS, _SEGMENTS):
        kind = table.schema.field(name).type
        listed = pa.array([getattr(video, name, None) for video in videos], kind).take(encoded.indices)
        column = pc.if_else(is_listed, listed, table[name].combine_chunks())
        table = table.set_column(table.column_names.index(name), name, column)
    return _with_labels_of_crops(table, known)


def _with_labels_of_crops(table: pa.Table, known: Mapping[str, DatasetVideo]) -> pa.Table:
    """Return rows in which crops outside the forged stretches of their video are real."""
    partly = {name: video for name, video in known.items() if video.fake_segments}
    if not partly:
        return table
    ids, times, labels = (table[name].to_pylist() for name in ("video_id", "time_seconds", "label"))
    crops = [
        partly[name].label_at(math.nan if time is None else time) if name in partly else label
        for name, time, label in zip(ids, times, labels, strict=True)
    ]
    return table.set_column(table.column_names.index("label"), "label", pa.array(crops, pa.int8()))


def _read_part(path: Path) -> pa.Table:
    try:
        return with_later_columns(pq.read_table(path, partitioning=None))
    except (pa.ArrowInvalid, OSError) as error:
        raise ManifestError(path, f"is damaged ({error})", "delete it and run again") from error
