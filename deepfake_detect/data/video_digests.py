"""Which videos a detector has seen: short digests of their ids, to be kept in its file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from deepfake_detect.data.rows import Rows

PREFIXES_KEY = "video_sha256_prefixes"
"""Of ``DetectorConfig.training``: digests of the videos by use, see :func:`video_digests`."""

DIGEST_LENGTH = 12
"""Hex digits kept: two of a million videos share them with a probability of 0.2 %."""


def video_digests(rows: Rows) -> list[str]:
    """Return the first 12 hex digits of the SHA-256 of each video id, each once and sorted.

    Args:
        rows: A manifest or index, filtered as wanted.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import pyarrow as pa, pyarrow.parquet as pq
        >>> path = Path(tempfile.mkdtemp()) / "rows.parquet"
        >>> pq.write_table(pa.table({"video_id": ["a", "b", "a"]}), path)
        >>> video_digests(Rows(path))
        ['3e23e8160039', 'ca978112ca1b']
    """
    videos = rows.query("select distinct video_id from rows")["video_id"].to_pylist()
    return sorted({hashlib.sha256(video.encode()).hexdigest()[:DIGEST_LENGTH] for video in videos})


def seen_by_all(trainings: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the digests, by use, of what a detector has seen that is made of others.

    Args:
        trainings: ``DetectorConfig.training`` of each. What one has trained on is no other's val.

    Example:
        >>> parts = [{PREFIXES_KEY: {"train": ["a"], "val": ["b"]}}, {PREFIXES_KEY: {"train": ["b"]}}, {}]
        >>> seen_by_all(parts)
        {'train': ['a', 'b'], 'val': []}
    """
    seen: dict[str, set[str]] = {}
    for training in trainings:
        for use, digests in training.get(PREFIXES_KEY, {}).items():
            seen.setdefault(use, set()).update(digests)
    trained = seen.get("train", set())
    return {use: sorted(found if use == "train" else found - trained) for use, found in seen.items()}
