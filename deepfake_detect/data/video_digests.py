"""Short digests of the ids of the videos that a detector was made with, stored in its file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from deepfake_detect.data.rows import Rows

DIGEST_LENGTH = 12
"""Hex digits kept: any two of a million videos collide with a probability of 0.2%."""


def video_digests(rows: Rows) -> list[str]:
    """Return the first 12 hex digits of the SHA-256 of each video id, each once and sorted."""
    videos = rows.query("select distinct video_id from rows")["video_id"].to_pylist()
    return sorted({hashlib.sha256(video.encode()).hexdigest()[:DIGEST_LENGTH] for video in videos})


def seen_by_all(seen_by_each: Iterable[Mapping[str, Iterable[str]]]) -> dict[str, tuple[str, ...]]:
    """Return the digests, by use, for a detector made of others.

    Args:
        seen_by_each: Digests by use of each part, as ``TrainingFacts.video_sha256_prefixes``. Videos
            that one part trained on do not count as another part's validation.

    Example:
        >>> seen_by_all([{"train": ["a"], "val": ["b"]}, {"train": ["b"]}, {}])
        {'train': ('a', 'b'), 'val': ()}
    """
    seen: dict[str, set[str]] = {}
    for by_use in seen_by_each:
        for use, digests in by_use.items():
            seen.setdefault(use, set()).update(digests)
    trained = seen.get("train", set())
    return {use: tuple(sorted(found if use == "train" else found - trained)) for use, found in seen.items()}
