"""The documentation says what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import deepfake_detect
from tests.conftest import ROOT

DOCS = ROOT / "docs"


def test_generated_pages_are_up_to_date() -> None:
    # In a new process: other tests register parts, which the pages would list.
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run docs/generate.py"


def test_every_public_name_is_on_the_api_page() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    shown = [first or last for first, last in re.findall(r"^(?:- `(\w+)`|:::.*\.(\w+)$)", page, flags=re.M)]
    assert len(shown) == len(set(shown))
    assert set(shown) == {name for name in deepfake_detect.__all__ if not name.startswith("_")}


@pytest.mark.parametrize(("page", "count"), [("extending.md", 8), ("facenet-pytorch.md", 3)])
def test_the_examples_of_a_page_run(page: str, count: int, tmp_path: Path) -> None:
    text = (DOCS / page).read_text("utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)
    assert len(examples) == count
    script = tmp_path / "examples.py"
    script.write_text("\n".join(examples), "utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_links_of_the_documentation_lead_to_files() -> None:
    for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_the_changelog_keeps_its_format() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    versions = [line for line in lines if line.startswith("## ") and line != "## Unreleased"]
    assert all(re.fullmatch(r"## \d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", line) for line in versions)
    assert versions[0].startswith(f"## {deepfake_detect.__version__} - ")
    kinds = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
