"""Clips in an object store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepfake_detect.cli import main
from deepfake_detect.io.fetch import RemoteDir


def test_clips_of_a_store_are_judged_as_those_here(
    object_store: RemoteDir, small_detector: Path, portrait_clip: Path, tmp_path: Path
) -> None:
    for name in ("clips/b/2.mp4", "clips/1.mp4", "clips/notes.txt"):
        object_store.put(portrait_clip, name)
    out = tmp_path / "out.json"
    options = ["--detector", str(small_detector), "--frames", "2", "--workers", "1", "--json", str(out)]
    assert main(["score-video", "s3://faces/clips", "--allow-url", *options]) == 0
    folder = json.loads(out.read_text())
    assert [one["video"] for one in folder] == ["s3://faces/clips/1.mp4", "s3://faces/clips/b/2.mp4"]
    assert main(["score-video", str(portrait_clip), *options]) == 0
    alone = json.loads(out.read_text())
    assert folder[0]["fake_probability"] == alone["fake_probability"]
    assert main(["score-video", "s3://faces/clips/b/2.mp4", "--allow-url", *options]) == 0
    assert json.loads(out.read_text())["fake_probability"] == alone["fake_probability"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s3://faces/clips"], "nothing is downloaded unless you allow it; set --allow-url"),
        (["s3://faces/absent", "--allow-url"], "contains no clip, or does not exist; check the URL"),
        (["s3://faces/absent.mp4", "--allow-url"], "cannot be fetched"),
    ],
)
def test_what_is_not_there_is_one_line(
    object_store: RemoteDir,
    small_detector: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["score-video", *arguments, "--detector", str(small_detector), "--frames", "1"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len([line for line in error.splitlines() if line.startswith("error:")]) == 1
