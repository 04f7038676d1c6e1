"""The container's recipe agrees with the project; building it needs a daemon and is no test."""

from __future__ import annotations

import argparse
import json
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from deepfake_detect.cli.app import add_arguments
from deepfake_detect.cli.arguments import options_of
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The instructions, one a line."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def of(lines: list[str], instruction: str) -> list[str]:
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{instruction} ")]


def test_what_is_copied_is_there_and_not_ignored(lines: list[str]) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {name for line in of(lines, "COPY") if "--from" not in line for name in line.split()[:-1]}
    assert sources == allowed
    assert all((ROOT / name).exists() for name in sources)


def test_it_does_not_run_as_root(lines: list[str]) -> None:
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    user = of(last_stage, "USER")[-1]
    assert re.search(rf"useradd .*{user}$", of(last_stage, "RUN")[-1])
    assert last_stage.index(f"USER {user}") < next(
        number for number, line in enumerate(last_stage) if line.startswith("ENTRYPOINT")
    )


def test_the_health_check_asks_what_the_server_answers(lines: list[str], tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    from deepfake_detect.app.guard import HostNames
    from deepfake_detect.app.options import Limits, ServeOptions
    from deepfake_detect.app.server import create_app
    from tests.app.serving import FakeScorer

    (check,) = of(lines, "HEALTHCHECK")
    host, port, path = re.search(r"http://([\d.]+):(\d+)(/[\w/]+)", check).groups()  # type: ignore[union-attr]
    tool, *arguments = json.loads(of(lines, "CMD")[-1])
    assert tool == "app"
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    command = options_of(ServeOptions, parser.parse_args(arguments))
    assert command.port == int(port)
    assert of(lines, "EXPOSE") == [port]
    assert HostNames(command.host).include(f"{host}:{port}")
    app = create_app(FakeScorer(), limits=Limits(), folder=tmp_path, names=HostNames(command.host))
    assert path in app.openapi()["paths"]


def test_the_entry_point_and_the_extras_are_the_projects(lines: list[str]) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"]
    assert json.loads(of(lines, "ENTRYPOINT")[0])[0] in {
        line.split("=")[0].strip() for line in scripts.splitlines()
    }
    (extras,) = re.findall(r'"\.\[(.*)\]"', "\n".join(lines))
    assert set(extras.split(",")) <= set(config["options.extras_require"])
