from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.cli.printing import ClipPrinter, LiveLine
from deepfake_detect.scoring import LiveVerdict, score_videos
from deepfake_detect.scoring.options import BatchOptions
from tests.conftest import ROOT
from tests.documents import check_document
from tests.scoring.servers import serving

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def folder(portrait_clip: Path, faceless_clip: Path, tmp_path: Path) -> Path:
    """A clip with a face, one without, and one that is none."""
    (tmp_path / "clips" / "sub").mkdir(parents=True)
    shutil.copyfile(portrait_clip, tmp_path / "clips" / "b.mp4")
    shutil.copyfile(faceless_clip, tmp_path / "clips" / "sub" / "a.mp4")
    (tmp_path / "clips" / "bad.mp4").write_text("no video")
    return tmp_path / "clips"


@pytest.fixture
def options(small_detector: Path) -> list[str]:
    return ["--detector", str(small_detector), "--device", "cpu", "--frames", "2", "--workers", "1"]


def score(*arguments: object) -> int:
    return main(["score-video", *map(str, arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_a_table_that_is_gone_on_with(
    folder: Path, portrait_clip: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, result = tmp_path / "r.csv", tmp_path / "r.json"
    assert score(folder, "--results", table, "--json", result, *options) == 2
    out, error = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == [
        str(folder / n) for n in ("b.mp4", "sub/a.mp4")
    ]
    assert error.splitlines()[0].startswith(f"error: {folder / 'bad.mp4'}: ")
    assert error.splitlines()[1:3] == [f"wrote {table}", f"wrote {result}"]
    assert error.splitlines()[3] == f"1 of 3 clips could not be scored; the errors are in {table}"
    first = rows(table)
    assert [row["path"] for row in first] == [
        str(folder / name) for name in ("b.mp4", "bad.mp4", "sub/a.mp4")
    ]
    assert first[2]["verdict"] == "no_face"
    assert [one["video"] for one in json.loads(result.read_text())] == [
        str(folder / name) for name in ("b.mp4", "sub/a.mp4")
    ]

    shutil.copyfile(portrait_clip, folder / "bad.mp4")
    shutil.copyfile(portrait_clip, folder / "new.mp4")
    assert score(folder, "--results", table, *options) == 0
    out, error = capsys.readouterr()
    assert error == f"wrote {table}\n2 of 4 clips were already in {table}\n"
    assert [line.split(":")[0] for line in out.splitlines()] == [
        str(folder / name) for name in ("bad.mp4", "new.mp4")
    ]
    assert [(row["path"], row["error"]) for row in rows(table)] == [
        (str(folder / name), "") for name in ("b.mp4", "bad.mp4", "sub/a.mp4", "new.mp4")
    ]


def test_a_run_that_is_killed_loses_no_verdict(
    portrait_clip: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clips").mkdir()
    for number in range(40):
        shutil.copyfile(portrait_clip, tmp_path / "clips" / f"{number:02}.mp4")
    table = tmp_path / "r.csv"
    command = [sys.executable, str(ROOT / "tools" / "score_video.py"), str(tmp_path / "clips")]
    with subprocess.Popen(
        [*command, "--results", str(table), *options], stdout=subprocess.PIPE, env=ONE_THREAD, text=True
    ) as running:
        assert running.stdout is not None
        told = [running.stdout.readline() for _ in range(2)]
        running.send_signal(signal.SIGKILL)
    kept = rows(table)
    assert len(told) <= len(kept) < 40
    for path in sorted((tmp_path / "clips").iterdir())[len(kept) + 2 :]:
        path.unlink()
    assert score(tmp_path / "clips", "--results", table, *options) == 0
    assert f"{len(kept)} of {len(kept) + 2} clips w" in capsys.readouterr().err
    assert rows(table)[: len(kept)] == kept
    assert len(rows(table)) == len(kept) + 2


def test_failed_clips_are_tried_again_when_asked(
    folder: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "r.parquet"
    assert score(folder, "--results", table, *options) == 2
    capsys.readouterr()
    assert score(folder, "--results", table, *options) == 2  # as long as a clip has no verdict
    known = f"3 of 3 clips were already in {table}"
    failed = f"1 of 3 clips could not be scored; the errors are in {table}"
    assert capsys.readouterr().err.splitlines() == [known, failed]
    assert score(folder, "--results", table, "--retry-failed", *options) == 2
    assert "1 of 3 clips could not be scored" in capsys.readouterr().err


def test_a_table_of_other_settings_is_refused_in_one_line(
    folder: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "r.csv"
    assert score(folder / "b.mp4", "--results", table, *options) == 0
    capsys.readouterr()
    assert score(folder / "b.mp4", "--results", table, *options, "--frames", "3") == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"error: {table}: was written with settings 'frames=2, ")
    assert error.count("\n") == 1


def test_results_come_in_order_from_several_processes(
    portrait_clip: Path, folder: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, out = tmp_path / "r.json", tmp_path / "clips" / "out"
    arguments = [folder, "--json", result, "--out", out, *options[:-2], "--workers", "2"]
    assert score(*arguments) == 2
    values = json.loads(result.read_text())
    assert [one["video"] for one in values] == [str(folder / name) for name in ("b.mp4", "sub/a.mp4")]
    for document in values:
        check_document(document)
    assert json.loads((out / "b.json").read_text()) == values[0]
    assert (out / "b_annotated.mp4").stat().st_size > 0
    capsys.readouterr()
    assert score(folder, "--json", tmp_path / "again.json", "--out", out, *options) == 2  # none of it a clip
    again = json.loads((tmp_path / "again.json").read_text())
    assert [one["verdict"] for one in again] == [one["verdict"] for one in values]


def test_a_file_on_standard_input_is_judged(
    portrait: np.ndarray,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import cv2

    for kind in (".png", ".jpg"):
        content = io.BytesIO(cv2.imencode(kind, portrait[..., ::-1])[1].tobytes())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
        assert score("-", "--json", "-", "--out", tmp_path / kind, *options) == 0
        values = json.loads(capsys.readouterr().out)
        check_document(values)
        assert (values["video"], values["num_frames_scored"]) == ("-", 1)
        assert json.loads((tmp_path / kind / "standard_input.json").read_text()) == values


def test_an_address_is_judged_when_allowed_and_named_by_itself(
    folder: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yt_dlp", reason="yt-dlp, of the extra url, is not installed")
    with serving(folder) as address:
        arguments = [f"{address}/b.mp4", "--out", tmp_path / "out", "--results", tmp_path / "r.csv", *options]
        assert score(*arguments) == 2
        assert "nothing is downloaded unless you allow it" in capsys.readouterr().err
        assert score(*arguments, "--allow-url") == 0
    assert capsys.readouterr().out.startswith(f"{address}/b.mp4: ")
    assert (tmp_path / "out" / "b_annotated.mp4").stat().st_size > 0
    assert rows(tmp_path / "r.csv")[0]["path"] == f"{address}/b.mp4"


def test_an_address_without_the_extra_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    assert score("http://127.0.0.1/a.mp4", "--allow-url", "--detector", "absent.safetensors") == 2
    assert capsys.readouterr().err == (
        "error: --allow-url: needs yt_dlp, which is not installed; "
        "install the extra 'url' (docs/install.md)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "CLIP: is missing; name a file, a folder or a URL, or set --live"),
        (["a.mp4", "--retry-failed"], "--retry-failed: needs a table of results; set --results too"),
        (["a.mp4", "--workers", "0"], "--workers: is 0; must be 1 or more"),
        (["a.mp4", "--results", "a.txt"], "--results: is 'a.txt'; must end in .csv or .parquet"),
        (
            ["a.mp4", "--report", "r.pdf"],
            "--report: is r.pdf; must end in .html; for a PDF open that in a bro",
        ),
        (["a.mp4", "b.mp4", "--report", "r.html"], "--report: is for one clip, and there are 2"),
        (["a.mp4", "--annotate", "r.avi"], "--annotate: is r.avi; must end in .mp4"),
        (
            ["a.mp4", "--json", "/dev/tty"],  # who may write to /dev would lose the device
            "--json: would replace /dev/tty, which is not a regular file; name a file",
        ),
        (["a.mp4", "b.mp4", "--annotate", "r.mp4"], "--annotate: is for one clip, and there are 2"),
        (
            ["--live", "0", "a.mp4", "--json", "-"],
            "--live: scores one stream, and there is also a.mp4, --json; omit these",
        ),
        (["--live", "clip.mp4"], "--live: is 'clip.mp4', which is neither a camera nor a stream"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str],
    message: str,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments if "--workers" in arguments else [*arguments, *options]
    assert score(*given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_one_clip_is_annotated_where_it_is_asked(folder: Path, options: list[str], tmp_path: Path) -> None:
    assert score(folder / "b.mp4", "--annotate", tmp_path / "new" / "a.mp4", *options) == 0
    assert (tmp_path / "new" / "a.mp4").stat().st_size > 0


def test_a_stream_is_judged_until_it_ends(
    portrait: np.ndarray, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [np.ascontiguousarray(portrait[20:260, 60:380])] * 8
    with serving(tmp_path, images=images, rate=20.0) as address:
        assert score("--live", f"{address}/camera", "--live-seconds", "5", *options[:4]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    assert out.splitlines()[-1].startswith("last verdict: 0:0")
    assert "1 person" in out.splitlines()[-1]


def test_ctrl_c_ends_a_stream_with_its_last_verdict(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> object:
        yield LiveVerdict("real", 0.25, 7, 1, 61.0, 5.0)
        raise KeyboardInterrupt

    monkeypatch.setattr("deepfake_detect.scoring.watch", interrupted)
    assert score("--live", "0") == 0
    words = "1:01  No signs of forgery found, 25% (1 person, 7 frames in the last 5.0 s)"
    assert capsys.readouterr().out.splitlines() == [words, f"last verdict: {words}"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("json_to", ["-", None])
def test_beside_a_progress_bar_lines_go_where_they_belong(
    json_to: str | None, portrait_clip: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error is a terminal with a bar on it, standard output a file."""
    monkeypatch.setenv("TERM", "xterm")
    out, error = io.StringIO(), _Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    assert score(portrait_clip, *options, *(["--json", json_to] if json_to else [])) == 0
    line = f"{portrait_clip}: "
    assert "scoring portrait.mp4" in error.getvalue()
    assert (line in out.getvalue()) == (json_to is None)
    if json_to:
        assert json.loads(out.getvalue())["video"] == str(portrait_clip)


def test_a_terminal_has_one_line_drawn_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    line = LiveLine()
    for seconds in (0.1, 0.2):
        line.show(LiveVerdict("no_face", None, 1, 0, seconds, 0.0))
    line.end(None)
    out = capsys.readouterr().out
    assert out.count("\r\x1b[2K") == 3
    assert out.endswith("no frame was scored\n")
    assert out.count("\n") == 1


def test_the_table_comes_when_the_bar_is_gone(
    portrait_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed while the bar is drawn, it began at the end of the bar's line."""
    item = next(iter(score_videos(portrait_clip, num_frames=2)))
    printer = ClipPrinter([str(portrait_clip)], BatchOptions(), argparse.ArgumentParser())
    printer.show(item)
    assert capsys.readouterr().out.count("\n") == 1
    assert printer.end() == 0
    assert "frames with a face" in capsys.readouterr().out


def test_a_report_of_a_clip_that_is_in_the_table_is_written(
    folder: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, report = tmp_path / "r.csv", tmp_path / "r.html"
    clip = folder / "sub" / "a.mp4"
    assert score(clip, "--results", table, *options) == 0
    assert score(clip, "--results", table, "--report", report, *options) == 0
    assert report.read_text().startswith("<!doctype html>")
    capsys.readouterr()
    assert score(clip, "--results", table, "--report", report, *options) == 0
    assert capsys.readouterr().err == f"1 of 1 clip was already in {table}\n"


def test_names_of_clips_that_a_number_or_an_ending_would_spoil(
    faceless_clip: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "é" * 122  # two bytes each, and a file's name has at most 255
    names = ("1/c.mp4", "2/c.mp4", "3/c_2.mp4", f"4/{long}.mp4", "5/$x^{$字.mp4", "6/line\nend\x1b[31m.mp4")
    for name in names:
        (tmp_path / name).parent.mkdir()
        shutil.copyfile(faceless_clip, tmp_path / name)
    out = tmp_path / "out"
    assert score(*(tmp_path / name for name in names), "--out", out, *options) == 0
    left = {path.name.removesuffix(".json") for path in out.glob("*.json")}
    assert left == {"c", "c_2", "c_2_2", long[:100], "$x^{$字", "line\nend\x1b[31m"}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names)
    assert "/line\\nend\\x1b[31m.mp4: No face found" in lines[-1]


def test_verbose_logs_and_quiet_does_not_say_what_was_written(
    faceless_clip: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [faceless_clip, "--json", tmp_path / "r.json", *options]
    assert score(*arguments, "-vv") == 0
    error = capsys.readouterr().err
    assert f"INFO deepfake_detect.scoring.clip_scorer: {faceless_clip}: no_face after" in error
    assert f"DEBUG deepfake_detect.io.files: wrote {tmp_path / 'r.json'}" in error
    assert error.endswith(f"\nwrote {tmp_path / 'r.json'}\n")
    assert score(*arguments, "-q") == 0
    assert capsys.readouterr().err == ""
