"""The library in the hands of others: a strictly typed program, and a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

from tests.conftest import ROOT
from tests.typing import client


def test_a_strict_program_is_typed_and_runs(demo_clip: Path, tmp_path: Path) -> None:
    # The library is checked by itself; here only what it promises to others.
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}", "--config-file="]
    found, errors, _ = api.run([*options, "--ignore-missing-imports", str(Path(client.__file__))])
    assert (found.strip(), errors) == ("Success: no issues found in 1 source file", "")
    assert client.main(demo_clip).endswith(" Result of a clip")


def test_a_mistake_of_such_a_program_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import deepfake_detect as dfd\n\n"
        "verdict: int = dfd.load_detector().score_video('a.mp4', num_frames='2').verdict\n"
    )
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}", "--config-file="]
    found, _, _ = api.run([*options, "--ignore-missing-imports", str(wrong)])
    assert 'Argument "num_frames"' in found
    assert "Incompatible types in assignment" in found


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
