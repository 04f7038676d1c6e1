"""Datasets as their owners ship them: one small reader for each, behind one interface.

Fake is 1 in every reader, whatever the polarity of the source. :func:`register_layout` adds the layout
of another dataset.
"""

from __future__ import annotations

from pathlib import Path

from deepfake_detect.data.layouts import (
    audiovisual,
    celebdf,
    csv_list,
    deeperforensics,
    deepfake_eval,
    deepfakebench,
    df40,
    dfd,
    dfdc,
    dfdcp,
    ffpp,
    folder,
    forgerynet,
    openforensics,
    pairs,
    trees,
    wilddeepfake,
)
from deepfake_detect.data.layouts.base import (
    EVERYTHING,
    Layout,
    Selection,
    VideoListing,
    as_text,
    drop_non_utf8,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.registry import Registry

__all__ = [
    "LAYOUTS",
    "Layout",
    "Selection",
    "VideoListing",
    "read_layout",
    "recognize_layout",
    "register_layout",
]

# In the order in which a folder is recognized: the most specific layouts first.
LAYOUTS: Registry[Layout] = Registry(
    "dataset",
    {
        layout.name: layout
        for layout in (
            deepfakebench.LAYOUT,
            dfd.LAYOUT,
            ffpp.LAYOUT,
            *celebdf.LAYOUTS,
            *audiovisual.LAYOUTS,
            dfdcp.LAYOUT,
            dfdc.LAYOUT,
            deeperforensics.LAYOUT,
            pairs.FFIW,
            wilddeepfake.LAYOUT,
            df40.LAYOUT,
            deepfake_eval.LAYOUT,
            openforensics.LAYOUT,
            forgerynet.LAYOUT,
            *trees.LAYOUTS,
            pairs.UADFV,
            csv_list.LAYOUT,
            folder.LAYOUT,
        )
    },
)


def register_layout(layout: Layout) -> Layout:
    """Add a dataset layout, for the option ``dataset`` and for automatic detection.

    It is tried after the library's own dataset layouts and before plain CSV files and folders.

    Args:
        layout: The layout; its name must be new.

    Returns:
        The layout.

    Raises:
        OptionError: The name is taken.

    Example:
        >>> layout = Layout(
        ...     name="mine",
        ...     dataset="MyDataset",
        ...     summary="genuine/*.mp4, forged/*.mp4",
        ...     label_source="folders",
        ...     split_source="none",
        ...     published="10 videos",
        ...     recognize=lambda root: "forged/" if (root / "forged").is_dir() else None,
        ...     list_videos=lambda root, selection: VideoListing(videos=...),
        ... )
        >>> register_layout(layout)  # doctest: +SKIP
        >>> index_dataset("downloads/mine", dataset="mine")  # doctest: +SKIP
    """
    LAYOUTS.register(layout.name, layout, source=layout.list_videos)
    return layout


def recognize_layout(root: Path) -> tuple[Layout, str]:
    """Return the layout of a dataset's folder, or of a CSV file, and the evidence for it."""
    if not root.exists():
        raise DatasetLayoutError(root, "does not exist", "pass the folder of a dataset, or a CSV file")
    for layout in sorted(LAYOUTS.values(), key=lambda one: one.is_generic):
        evidence = layout.recognize(root)
        if evidence is not None:
            return layout, as_text(evidence)
    raise DatasetLayoutError(
        root,
        "does not have the folders of a known dataset",
        f"set `dataset` to its layout, one of: {', '.join(LAYOUTS)}",
    )


def read_layout(
    root: Path, *, dataset: str | None = None, selection: Selection = EVERYTHING
) -> tuple[Layout, str, VideoListing]:
    """Return the layout of a dataset (``None`` recognizes it), the evidence for it, and its listing."""
    layout, evidence = recognize_layout(root) if dataset is None else (LAYOUTS.find(dataset), "as named")
    return layout, evidence, drop_non_utf8(layout.read(root, selection))
