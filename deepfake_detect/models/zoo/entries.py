"""``ZOO``: every published detector by name. Each family's entries are in a module of its own."""

from __future__ import annotations

import difflib

from deepfake_detect.errors import OptionError
from deepfake_detect.models.zoo import (
    deepfakebench,
    deepguard,
    faceforensics,
    gend,
    mesonet,
    polimi,
    sbi,
    selimsef,
    vision_transformers,
)
from deepfake_detect.models.zoo.entry import ZooEntry

_FAMILIES = (
    polimi,
    selimsef,
    sbi,
    deepfakebench,
    gend,
    deepguard,
    vision_transformers,
    mesonet,
    faceforensics,
)
ZOO: dict[str, ZooEntry] = {entry.name: entry for family in _FAMILIES for entry in family.ENTRIES}
"""The published detectors by name."""


def find_entry(name: str) -> ZooEntry:
    """Return the entry of a name, with or without ``zoo:``.

    Raises:
        OptionError: There is none; similar names are listed.

    Example:
        >>> find_entry("zoo:meso4-df").network
        'meso4-keras'
    """
    bare = name.removeprefix("zoo:")
    if bare in ZOO:
        return ZOO[bare]
    near = difflib.get_close_matches(bare, ZOO, n=3, cutoff=0.4)
    raise OptionError(
        "name",
        f"{bare!r} is not in the zoo",
        f"did you mean {', '.join(near)}?" if near else "`zoo list` lists the names",
    )
