"""Which videos a detector has seen: short digests of their ids, to be kept in its file."""

from __future__ import annotations

import hashlib

from deepfake_detect.data.rows import Rows

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
