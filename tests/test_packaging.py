"""What is distributed: the source with every file, and a package without missing data."""

from __future__ import annotations

import re
import runpy
import subprocess
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import PurePosixPath

import pytest

from tests.conftest import ROOT

# What setuptools adds without MANIFEST.in.
_ALWAYS = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg", "setup.py"}


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """The files of the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split("\0")[:-1])


def test_the_source_distribution_has_every_tracked_file(
    tracked: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from setuptools.command.egg_info import FileList

    monkeypatch.chdir(ROOT)
    files = FileList()
    for line in (ROOT / "MANIFEST.in").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            files.process_template_line(line)
    assert tracked - {PurePosixPath(name).as_posix() for name in files.files} == _ALWAYS


def test_the_package_has_every_tracked_data_file(tracked: set[str]) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = {
        f"{package.replace('.', '/')}/{pattern.strip()}"
        for package, given in config["options.package_data"].items()
        for pattern in given.split(",")
    }
    data = {name for name in tracked if name.startswith("deepfake_detect/") and not name.endswith(".py")}
    assert {name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)} == set()


@pytest.mark.parametrize("files", ["", "https://host/owner/name/blob/main/"])
def test_an_index_shows_the_readme_without_images_and_dead_links(files: str) -> None:
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    shown_on_an_index = setup["readme_of_an_index"]
    shown_on_an_index.__globals__["FILES"] = files
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = shown_on_an_index(readme)
    assert re.search(r"!\[|<img", readme)
    assert not re.search(r"!\[|<img", shown)
    links = re.findall(r"\]\(([^)]*)\)", shown)
    assert all(link.startswith(("https://", "#")) for link in links)
    assert (f"]({files}docs/" in shown) is bool(files)
    assert readme.splitlines()[:4] == shown.splitlines()[:4]


def test_words_of_a_link_stay_without_an_address() -> None:
    setup = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    text = "<!-- images -->\n![a](b.png)\n<!-- end of images -->\n\nSee [the page](docs/a.md) and [it](https://x.y/).\n"
    assert setup["readme_of_an_index"](text) == "See the page and [it](https://x.y/).\n"


def test_hooks_of_commits_are_commands_of_make_check() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("$(BIN)", ".venv/bin")
    hooks = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert hooks[-1] == "make check"
    assert [hook for hook in hooks[:-1] if f"\n\t{hook}\n" not in makefile] == []


def test_ci_runs_each_target_on_each_declared_python() -> None:
    workflow = (ROOT / ".github" / "workflows" / "check.yml").read_text("utf-8")
    config = (ROOT / "setup.cfg").read_text("utf-8")
    (pythons,) = re.findall(r"python: \[(.*)\]", workflow)
    assert re.findall(r"[\d.]+", pythons) == re.findall(r"Python :: (3\.\d+)", config)
    assert "target: [test, check, docs]" in workflow
