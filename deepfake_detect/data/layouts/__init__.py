"""Datasets as their owners ship them: one small reader each behind one interface.

``LAYOUTS`` is the registry; its order is the order in which a tree is recognized, the most
particular layouts first. Fake is 1 in every reader, whatever the polarity of the source.
"""

from __future__ import annotations

from pathlib import Path

from deepfake_detect.data.layouts import (
    celebdf,
    csv_list,
    deeperforensics,
    df40,
    dfd,
    dfdc,
    dfdcp,
    ffiw,
    ffpp,
    folder,
    uadfv,
    wilddeepfake,
)
from deepfake_detect.data.layouts.base import (
    Layout,
    ReadOptions,
    VideoListing,
    as_text,
    drop_non_utf8,
)
from deepfake_detect.errors import DatasetLayoutError, OptionError

__all__ = ["LAYOUTS", "Layout", "ReadOptions", "VideoListing", "read_dataset", "recognize_layout"]

_IN_ORDER: tuple[Layout, ...] = (
    dfd.LAYOUT,
    ffpp.LAYOUT,
    *celebdf.LAYOUTS,
    dfdcp.LAYOUT,
    dfdc.LAYOUT,
    deeperforensics.LAYOUT,
    ffiw.LAYOUT,
    wilddeepfake.LAYOUT,
    df40.LAYOUT,
    uadfv.LAYOUT,
    csv_list.LAYOUT,
    folder.LAYOUT,
)
LAYOUTS: dict[str, Layout] = {layout.kind: layout for layout in _IN_ORDER}


def recognize_layout(root: Path) -> tuple[Layout, str]:
    """Tell which dataset a tree holds.

    Args:
        root: Folder of the dataset, or a CSV file.

    Returns:
        The layout and what gave it away.

    Raises:
        DatasetLayoutError: Nothing is there, or no known layout fits.
    """
    if not root.exists():
        raise DatasetLayoutError(root, "is not there", "pass the folder of a dataset, or a CSV file")
    for layout in LAYOUTS.values():
        evidence = layout.recognize(root)
        if evidence is not None:
            return layout, as_text(evidence)
    raise DatasetLayoutError(
        root,
        "has the folders of no known dataset",
        f"name its layout with --kind, one of: {', '.join(LAYOUTS)}",
    )


def read_dataset(
    root: Path, *, kind: str | None = None, options: ReadOptions | None = None
) -> tuple[Layout, str, VideoListing]:
    """List the videos of a dataset, complete or partial.

    Files and folders whose names are no UTF-8 are left out, and counted in a note.

    Args:
        root: Folder of the dataset as downloaded, or a CSV file.
        kind: A key of ``LAYOUTS``; recognized from the tree when ``None``.
        options: What to read of it; everything when ``None``.

    Returns:
        The layout, what gave it away, and the listing.

    Raises:
        OptionError: Unknown kind, or an option that does not fit it.
        DatasetLayoutError: The tree is of another kind, misspelled, or holds no video that can be named.
    """
    if kind is None:
        layout, evidence = recognize_layout(root)
    elif kind in LAYOUTS:
        layout, evidence = LAYOUTS[kind], "named by --kind"
    else:
        raise OptionError("kind", f"{kind!r} is unknown", f"choose one of: {', '.join(LAYOUTS)}")
    options = options or ReadOptions()
    if options.fake_label is not None and layout.kind != csv_list.LAYOUT.kind:
        raise OptionError("fake_label", f"is for a CSV, this is {layout.dataset}", "leave it out")
    return layout, evidence, drop_non_utf8(layout.read(root, options))
