#!/usr/bin/env python3
"""Run the notebooks of docs/notebooks and store what they show: `python docs/run_notebooks.py [NAME ...]`."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parent / "notebooks"
_SECONDS = 300  # of a cell


def run_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs of a new run, which starts in its folder.

    Raises:
        CellExecutionError: A cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=_SECONDS, resources=where, record_timing=False, coalesce_streams=True
    ).execute()
    notebook.metadata["language_info"] = {"name": "python"}  # without the version, which changes
    return notebook


def shrink_images(notebook: nbformat.NotebookNode) -> None:
    """Give the PNGs that a notebook shows a palette of 256 colors: a third of the size."""
    for output in [one for cell in notebook.cells for one in cell.get("outputs", ())]:
        if "image/png" in output.get("data", {}):
            image = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB")
            buffer = io.BytesIO()
            image.quantize(256).save(buffer, "png", optimize=True)
            output.data["image/png"] = base64.b64encode(buffer.getvalue()).decode()


def main() -> int:
    """Run the named notebooks, or all."""
    names = sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        path = NOTEBOOKS / f"{name}.ipynb"
        notebook = run_notebook(path)
        shrink_images(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
