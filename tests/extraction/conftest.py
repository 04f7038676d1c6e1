"""The tree that most tests of the extraction read, and what its extraction leaves."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deepfake_detect.extraction import ExtractionReport
from tests.data.trees import ffpp_tree
from tests.extraction.helpers import CONFIG, extract


def make_tree(folder: Path, portrait_clip: Path, faceless_clip: Path) -> Path:
    """Six videos: four with the portrait, one without a face, one that is no video."""
    broken = folder / "broken.mp4"
    broken.write_text("this is no video")
    return ffpp_tree(
        folder / "ffpp",
        {
            "youtube/c23/000": portrait_clip,
            "youtube/c23/003": faceless_clip,
            "Deepfakes/c23/000_003": portrait_clip,
            "Deepfakes/c23/003_000": broken,
            "Face2Face/c23/000_003": portrait_clip,
            "FaceSwap/c23/000_003": portrait_clip,
        },
    )


@pytest.fixture
def tree(tmp_path: Path, portrait_clip: Path, faceless_clip: Path) -> Path:
    return make_tree(tmp_path, portrait_clip, faceless_clip)


@dataclass(frozen=True)
class Extracted:
    """An extraction that several tests read; those that change it take a copy."""

    tree: Path
    out: Path
    report: ExtractionReport

    def copy(self, target: Path) -> Path:
        return Path(shutil.copytree(self.out, target))


@pytest.fixture(scope="session")
def shared_tree(tmp_path_factory: pytest.TempPathFactory, portrait_clip: Path, faceless_clip: Path) -> Path:
    return make_tree(tmp_path_factory.mktemp("extraction"), portrait_clip, faceless_clip)


@pytest.fixture(scope="session")
def whole(shared_tree: Path) -> Extracted:
    out = shared_tree.parent / "whole"
    return Extracted(shared_tree, out, extract(shared_tree, out))


@pytest.fixture(scope="session")
def whole_shards(shared_tree: Path) -> Extracted:
    out = shared_tree.parent / "shards"
    return Extracted(shared_tree, out, extract(shared_tree, out, replace(CONFIG, store="shards")))
