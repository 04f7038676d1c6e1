"""The documentation says what the code says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import deepfake_detect
from deepfake_detect.cli.main import COMMANDS, LAB_COMMANDS, parser_of
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


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


EXTENDING = sorted((DOCS / "extending").glob("*.md"))


def examples_of(page: Path) -> str:
    """Return the Python code of a page."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), flags=re.M | re.S))


def test_the_examples_of_pages_run(tmp_path: Path) -> None:
    # One process for all, and a module for each page: the import of PyTorch takes seconds.
    pages = {
        f"page_{page.stem.replace('-', '_')}": page for page in (DOCS / "facenet-pytorch.md", *EXTENDING)
    }
    for name, page in pages.items():
        assert "assert " in examples_of(page), page.name
        (tmp_path / f"{name}.py").write_text(examples_of(page), "utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {', '.join(pages)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_registry_has_a_page() -> None:
    shown = (DOCS / "extending.md").read_text("utf-8")
    kinds = {
        name.removeprefix("register_") for name in deepfake_detect.__all__ if name.startswith("register_")
    }
    assert len(kinds) == 7
    assert kinds <= {page.stem for page in EXTENDING}
    assert all(f"(extending/{page.name})" in shown for page in EXTENDING)


def commands_of(page: Path) -> list[list[str]]:
    """Return the commands in the code blocks of a page, without what a shell does with them."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```$", page.read_text("utf-8"), flags=re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines if "deepfake-detect " in line]
    commands = [re.split(r"^[|>&;]+$", "\n".join(words), flags=re.M)[0].split("\n") for words in found]
    return [words for words in commands if words[0] == "deepfake-detect" and words[1] != "COMMAND"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_documentation_are_understood(page: Path) -> None:
    for _, *words in commands_of(page):
        table = COMMANDS
        if words[0] == "lab":
            table, words = LAB_COMMANDS, words[1:]
        parser = parser_of(table[words[0]], words[0])
        parser.parse_args([word for word in words[1:] if word])  # SystemExit on an unknown flag


def test_links_of_the_documentation_lead_to_files() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_addresses_are_whole_and_written_in_one_way() -> None:
    spellings = defaultdict(set)
    for page in PAGES:
        for address in re.findall(r"\]\((\w+://[^)]*)\)", page.read_text("utf-8")):
            parts = urlsplit(address)
            assert parts.scheme == "https", f"{page.name}: {address}"
            assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]{2,}", parts.netloc), f"{page.name}: {address}"
            assert re.fullmatch(r"[!-~]+", address), f"{page.name}: {address}"
            spellings[re.sub(r"^www\.", "", parts.netloc) + parts.path.rstrip("/").lower()].add(address)
    assert {
        key: found for key, found in spellings.items() if len({one.partition("#")[0] for one in found}) > 1
    } == {}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_the_changelog_keeps_its_format() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    versions = [line for line in lines if line.startswith("## ") and line != "## Unreleased"]
    assert all(re.fullmatch(r"## \d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", line) for line in versions)
    assert versions[0].startswith(f"## {deepfake_detect.__version__} - ")
    kinds = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
