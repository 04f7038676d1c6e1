"""The tree that most tests of the extraction read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.trees import ffpp_tree


@pytest.fixture
def tree(tmp_path: Path, portrait_clip: Path, faceless_clip: Path) -> Path:
    """Six videos: four with the portrait, one without a face, one that is no video."""
    broken = tmp_path / "broken.mp4"
    broken.write_text("this is no video")
    return ffpp_tree(
        tmp_path / "ffpp",
        {
            "youtube/c23/000": portrait_clip,
            "youtube/c23/003": faceless_clip,
            "Deepfakes/c23/000_003": portrait_clip,
            "Deepfakes/c23/003_000": broken,
            "Face2Face/c23/000_003": portrait_clip,
            "FaceSwap/c23/000_003": portrait_clip,
        },
    )
