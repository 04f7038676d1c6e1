"""The library in the hands of others: a strictly typed program, and a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.typing import client


def test_a_strict_program_runs(demo_clip: Path) -> None:
    """Its types are checked with the package's: ``mypy`` has it in its list of files."""
    assert client.main(demo_clip).endswith(" Result of a clip")


def test_a_notebook_shows_a_result(demo_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    cells = (
        "import deepfake_detect as dfd\ndetector = dfd.load_detector(device='cpu', num_threads=1)",
        f"result = detector.score_video({str(demo_clip)!r}, num_frames=2)\nresult",
        "print(repr(result))",
        "dfd.ClipResult.from_dict(result.to_dict()).verdict == result.verdict",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbclient.NotebookClient(notebook, timeout=120).execute()
    _, shown, printed, same = (cell.outputs for cell in notebook.cells)
    page = shown[0]["data"]["text/html"]
    assert "demo.mp4" in page
    assert "<svg" in page
    assert printed[0]["text"].startswith("ClipResult(")
    assert same[0]["data"]["text/plain"] == "True"
