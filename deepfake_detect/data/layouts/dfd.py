"""DeepFakeDetection (Google and Jigsaw, 2019) without FaceForensics++: 28 actors, 363 reals, 3,068 fakes.

It comes with FaceForensics++ and is read as a part of it, under the same names, so that videos are the
same ones whichever way they were downloaded. Two trees:

    original_sequences/actors/<compression>/videos/*.mp4                          label 0
    manipulated_sequences/DeepFakeDetection/{<compression>,masks}/videos/*.mp4    label 1

    DFD_original sequences/*.mp4                                                  label 0
    DFD_manipulated_sequences/DFD_manipulated_sequences/*.mp4                     label 1

The second is the Kaggle mirror "DFD Entire Original Dataset". It does not state its compression; its
size is that of c23, which is assumed. Reals are ``<actor>__<scene>.mp4``, fakes
``<target>_<source>__<scene>__<8 characters>.mp4``. There is no official split. Names of absent videos
are not published, so only their number is known.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    nearly_named,
    subfolders,
)
from deepfake_detect.data.layouts.ffpp import (
    COMPRESSIONS,
    DATASET,
    DFD,
    NUM_DFD,
    TOP_FOLDERS,
    FfppCopy,
    list_copy,
    official_copy,
)

_MIRROR_FOLDERS = {"actors": "DFD_original sequences", DFD: "DFD_manipulated_sequences"}


def _list(root: Path, selection: Selection) -> VideoListing:
    copy = _mirror_copy(root) if _is_mirror(root) else official_copy(root)
    return list_copy(copy, replace(selection, methods=(DFD,)))


def _is_mirror(root: Path) -> bool:
    # The prefix is required because original_sequences itself is nearly a mirror's folder.
    has_prefix = any(path.name.upper().startswith("DFD_") for path in subfolders(root))
    return has_prefix and bool(nearly_named(root, _MIRROR_FOLDERS.values()))


def _mirror_copy(root: Path) -> FfppCopy:
    check_folder_names(root, _MIRROR_FOLDERS.values(), dataset=DFD)
    return FfppCopy(
        root=root,
        folders={(source, "c23"): _innermost(root / name) for source, name in _MIRROR_FOLDERS.items()},
        sizes=NUM_DFD,
        notes=("the mirror does not state its compression: assumed to be c23, whose size it has",),
    )


def _innermost(folder: Path) -> Path:
    """Return the folder of the same name in ``folder`` if there is one: archives nest them."""
    for name in (folder.name, folder.name.replace(" ", "_")):
        if (folder / name).is_dir():
            return folder / name
    return folder


def _recognize(root: Path) -> str | None:
    if _is_mirror(root):
        return f"folders of its Kaggle mirror: {', '.join(nearly_named(root, _MIRROR_FOLDERS.values()))}"
    found = {path.name for top in TOP_FOLDERS for path in subfolders(root / top)}
    if found and found <= NUM_DFD.keys():
        return f"a {DATASET} tree with only {', '.join(sorted(found))}"
    return None


LAYOUT = Layout(
    name="dfd",
    dataset=DATASET,
    summary="the actors and DeepFakeDetection folders of FaceForensics++, or DFD_{original,manipulated}_…",
    label_source="folders: actors and DFD_original sequences are 0, the others 1",
    split_source="none: no official split",
    published="363 reals and 3,068 fakes of 28 actors",
    source="ondyari/FaceForensics, dataset/README.md",
    recognize=_recognize,
    list_videos=_list,
    methods=(DFD,),
    compressions=COMPRESSIONS,
    is_selecting=True,
)
