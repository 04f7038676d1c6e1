"""A hook of mkdocs: each notebook of docs/notebooks becomes a page, from its stored outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

_NOTE = """!!! note
    This page is a notebook: <a href="{name}" download>download it</a>, and run it in `docs/notebooks`
    of a checkout.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and their figures to what the site is built from."""
    exporter = MarkdownExporter()
    for path in sorted(Path(config.docs_dir, "notebooks").glob("*.ipynb")):
        text, resources = exporter.from_filename(path, {"unique_key": path.stem})
        title, _, body = text.strip().partition("\n")
        page = f"{title}\n\n{_NOTE.format(name=path.name)}\n{body}"
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, data in resources["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=data))
    return files


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Let links to notebooks lead to their pages; in the repository they lead to the files."""
    return re.sub(r"\]\(([\w./]+)\.ipynb\)", r"](\1.md)", markdown)
