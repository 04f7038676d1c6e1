"""The pages of the datasets say what the readers do: their trees and lists are made and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deepfake_detect.data.layouts import LAYOUTS, read_layout, recognize_layout
from deepfake_detect.records import FAKE, REAL
from tests.conftest import ROOT

PAGES = ROOT / "docs" / "datasets"
ENTRIES: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "docs" / "_generate" / "datasets.yaml").read_text("utf-8")
)
LABELS = {"real": REAL, "fake": FAKE}


def make_tree(folder: Path, entry: dict[str, Any]) -> tuple[Path, Path]:
    """Make the files of an entry; return what is read, and the folder of the files."""
    root = folder / entry["root"]
    top = folder if entry["root"] in entry["files"] else root
    for name in entry["files"]:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(entry.get("lists", {}).get(name, ""), "utf-8")
    return root, top


def word(note: str) -> str:
    return note.partition(",")[0]


def test_every_layout_has_a_page_and_every_page_a_layout() -> None:
    assert ENTRIES.keys() == set(LAYOUTS)
    assert {path.stem for path in PAGES.iterdir()} == set(LAYOUTS)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_tree_of_a_page_is_read_with_the_labels_it_names(name: str, tmp_path: Path) -> None:
    entry = ENTRIES[name]
    root, top = make_tree(tmp_path, entry)
    assert recognize_layout(root)[0].name == name
    videos = read_layout(root)[2].videos
    labels = {top / path: LABELS[word(note)] for path, note in entry["files"].items() if word(note) in LABELS}
    # A row may be the folder of frames that a file is in.
    found = {path: [video.label for video in videos if path.is_relative_to(video.path)] for path in labels}
    assert found == {path: [label] for path, label in labels.items()}
    assert all(any(path.is_relative_to(video.path) for path in labels) for video in videos)


@pytest.mark.parametrize("name", ENTRIES)
def test_lists_are_files_of_the_tree(name: str) -> None:
    assert ENTRIES[name].get("lists", {}).keys() <= ENTRIES[name]["files"].keys()
