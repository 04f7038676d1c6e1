"""The notebooks of the documentation run, and show what is stored in them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# Of paths on the machine that ran the notebook, and of warnings.
_UNWANTED = re.compile(r"/tmp|/home|/Users|/root|/var/folders|site-packages|Warning")


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_a_notebook_runs_and_shows_what_is_stored(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.syspath_prepend(ROOT / "docs")
    from run_notebooks import run_notebook

    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    copy = tmp_path / "docs" / "notebooks" / path.name
    copy.parent.mkdir(parents=True)
    shutil.copyfile(path, copy)
    shown = run_notebook(copy)
    stored = nbformat.read(path, as_version=4)
    remedy = f"what it shows has changed: run docs/run_notebooks.py {path.stem}, and look at it"
    assert [printed(cell) for cell in shown.cells] == [printed(cell) for cell in stored.cells], remedy
    check_outputs(shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_stored_outputs_are_small_and_clean(path: Path) -> None:
    assert path.stat().st_size < 300_000
    stored = nbformat.read(path, as_version=4)
    check_outputs(stored)
    codes = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))


def printed(cell: Any) -> list[str]:
    """Return the text that a cell shows on every machine; of numbers with decimals, where they are."""
    if cell.cell_type != "code" or "varies" in cell.metadata.get("tags", ()):
        return []
    texts = [one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs]
    return [re.sub(r"\d+\.\d+", "#", text) for text in texts]


def check_outputs(notebook: Any) -> None:
    """Check that no cell shows a warning or a path of this machine."""
    for one in [output for cell in notebook.cells for output in cell.get("outputs", ())]:
        assert one.get("name") != "stderr", one.text
        shown = one.get("data", {})
        for text in (one.get("text", ""), shown.get("text/plain", ""), shown.get("text/html", "")):
            assert not _UNWANTED.search(text), text
