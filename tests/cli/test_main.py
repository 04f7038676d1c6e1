from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detect.cli import main
from deepfake_detect.cli.main import COMMANDS, LAB_COMMANDS
from deepfake_detect.report.words import HEADLINES
from tests import media
from tests.conftest import ROOT


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize("command", [*sorted(COMMANDS), *(f"lab {name}" for name in sorted(LAB_COMMANDS))])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for spelling in (command, command.replace("-", "_")):
        with pytest.raises(SystemExit) as stop:
            main([*spelling.split(), "--help"])
        assert stop.value.code == 0
        assert f"deepfake-detect {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["extract-faces", "score-video", "train", "evaluate"])
def test_the_four_tools_run_their_commands(command: str) -> None:
    tool = ROOT / "tools" / f"{command.replace('-', '_')}.py"
    assert os.access(tool, os.X_OK)
    assert f'main(["{command}"' in tool.read_text()


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["scor"])
    assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def score(*arguments: object) -> int:
    return main(["score-video", "--device", "cpu", "--frames", "3", *map(str, arguments)])


def test_one_clip_gives_an_object_and_pictures(
    portrait_clip: Path, small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, out = tmp_path / "r.json", tmp_path / "out"
    assert score(portrait_clip, "--detector", small_detector, "--json", result, "--out", out) == 0
    values = json.loads(result.read_text())
    assert values["video"] == str(portrait_clip)
    assert json.loads((out / "portrait.json").read_text()) == values
    assert sorted(path.name for path in out.iterdir()) == [
        *("portrait.json", "portrait_annotated.mp4", "portrait_timeline.png")
    ]
    line = capsys.readouterr().out
    assert line.startswith(f"{portrait_clip}: {HEADLINES[values['verdict']]}, fake probability")


def test_json_on_standard_output_is_all_there_is_on_it(
    portrait_clip: Path, small_detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(portrait_clip, "--detector", small_detector, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["num_frames_scored"] == 3


def test_good_clips_are_scored_among_bad_ones_and_the_exit_code_tells(
    portrait_clip: Path,
    faceless_clip: Path,
    small_detector: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video\n")
    (tmp_path / "nothing").mkdir()
    clips = [tmp_path / "absent.mp4", portrait_clip, text, faceless_clip, tmp_path / "nothing"]
    assert score(*clips, "--detector", small_detector, "--json", tmp_path / "r.json") == 2
    values = json.loads((tmp_path / "r.json").read_text())
    assert [one["video"] for one in values] == [str(portrait_clip), str(faceless_clip)]
    assert values[1]["verdict"] == "no_face"
    *lines, last = capsys.readouterr().err.splitlines()
    assert (len(lines), last) == (3, f"wrote {tmp_path / 'r.json'}")
    for line, clip in zip(lines, (clips[0], text, clips[-1]), strict=True):
        assert line.startswith(f"error: {clip}: ")
        assert "; " in line  # cause; remedy


def bad_files(folder: Path, whole: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    files = {name: folder / f"{name}.mp4" for name in ("absent", "text", "empty", "cut", "sound")}
    files["text"].write_text("hello " * 100)
    files["empty"].write_bytes(b"")
    shutil.copyfile(whole, files["cut"])
    media.cut_off(files["cut"], keep=0.5)
    media.write_sound(files["sound"])
    (folder / "of_nothing").mkdir()
    return {**files, "folder": folder / "of_nothing"}


@pytest.mark.parametrize("kind", ["absent", "text", "empty", "cut", "sound", "folder"])
def test_a_bad_clip_is_one_line_and_exit_code_2(
    kind: str, portrait_clip: Path, small_detector: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = bad_files(tmp_path / "bad", portrait_clip)[kind]
    assert score(clip, "--detector", small_detector) == 2
    told = capfd.readouterr()  # FFmpeg's own words, too, would be here
    assert told.out == ""
    assert told.err.count("\n") == 1, told.err
    assert told.err.startswith(f"error: {clip}: ")


@pytest.mark.parametrize("kind", ["text", "cut"])
def test_a_bad_clip_is_one_line_and_exit_code_2_in_a_fresh_process(
    kind: str, portrait_clip: Path, small_detector: Path, tmp_path: Path
) -> None:
    clip = bad_files(tmp_path / "bad", portrait_clip)[kind]
    tool = ROOT / "tools" / "score_video.py"
    done = subprocess.run(
        [sys.executable, str(tool), str(clip), "--detector", str(small_detector)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"error: {clip}: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detector", "absent.safetensors"], "absent.safetensors: there is no such detector file"),
        (["--device", "tpu"], "--device: is 'tpu'; must be auto, cpu, cuda or cuda:N"),
        (["--frames", "0"], "--frames: is 0; must be 1 or more"),
        (["--aggregation", "guess"], "guess"),
        (["--min-face", "2"], "--min-face: is 2.0; must be 12 or more"),
    ],
)
def test_a_bad_option_is_one_line(
    options: list[str], message: str, portrait_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(portrait_clip, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_clips_of_one_name_are_numbered(
    portrait_clip: Path, faceless_clip: Path, small_detector: Path, tmp_path: Path
) -> None:
    """Four methods of FaceForensics++ share their names."""
    other = tmp_path / "portrait.mp4"
    shutil.copyfile(faceless_clip, other)
    assert score(portrait_clip, other, "--detector", small_detector, "--out", tmp_path / "out") == 0
    verdicts = {
        name: json.loads((tmp_path / "out" / f"{name}.json").read_text())["verdict"]
        for name in ("portrait", "portrait_2")
    }
    assert verdicts["portrait_2"] == "no_face"
    assert verdicts["portrait"] != "no_face"


def test_no_clip_is_ever_overwritten(
    portrait_clip: Path, small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x.mp4", "x_annotated.mp4"):
        shutil.copyfile(portrait_clip, tmp_path / name)
    clips = [tmp_path / "x.mp4", tmp_path / "x_annotated.mp4"]
    before = clips[1].read_bytes()
    assert score(*clips, "--detector", small_detector, "--out", tmp_path) == 2
    assert "x_annotated.mp4, which is a clip; choose another path" in capsys.readouterr().err
    assert score(clips[0], "--detector", small_detector, "--json", clips[0]) == 2
    assert score(clips[0], "--out", tmp_path / "o", "--json", tmp_path / "o" / "x.json") == 2
    assert "which is written by --json" in capsys.readouterr().err
    assert clips[1].read_bytes() == before


@pytest.mark.parametrize("option", ["--json", "--out"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    option: str, portrait_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert score(portrait_clip, option, tmp_path / "file" / "below") == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert "cannot be written" in error
    assert error.count("\n") == 1


def test_a_picture_that_cannot_be_made_costs_no_verdict(
    portrait_clip: Path,
    faceless_clip: Path,
    small_detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from deepfake_detect.errors import VideoError
    from deepfake_detect.report import annotate

    def refuse(*_: object, **__: object) -> None:
        raise VideoError("sound", "cannot be copied", "omit it")

    monkeypatch.setattr(annotate, "annotate_video", refuse)
    result = tmp_path / "r.json"
    arguments = ["--detector", small_detector, "--out", tmp_path / "o", "--json", result]
    assert score(portrait_clip, faceless_clip, *arguments) == 2
    assert len(json.loads(result.read_text())) == 2
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 2
    told = ["error: sound: cannot be copied; omit it"] * 2
    assert error.splitlines() == [*told, f"wrote {result}", f"wrote {tmp_path / 'o'} (files about 2 clips)"]


def test_names_that_are_no_text_are_shown_escaped(
    portrait_clip: Path, small_detector: Path, tmp_path: Path
) -> None:
    clip = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    shutil.copyfile(portrait_clip, clip)
    assert score(clip, "--detector", small_detector, "--json", tmp_path / "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text())["num_frames_scored"] == 3


def test_a_reader_that_leaves_early_is_no_error(portrait_clip: Path, small_detector: Path) -> None:
    tool = ROOT / "tools" / "score_video.py"
    arguments = f"{sys.executable} {tool} {portrait_clip} --frames 2 --json - --detector {small_detector}"
    done = subprocess.run(f"{arguments} | true", shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_truncated_clips_can_be_judged_when_asked(
    portrait_clip: Path, small_detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mp4"
    shutil.copyfile(portrait_clip, cut)  # its index stands in front, so the start can be decoded
    media.cut_off(cut, keep=0.95)
    assert score(cut, "--detector", small_detector) == 2
    assert "--allow-truncated" in capsys.readouterr().err
    result = tmp_path / "r.json"
    assert score(cut, "--detector", small_detector, "--allow-truncated", "--json", result) == 0
    frames = json.loads(result.read_text())["frames"]
    assert 0 < frames[-1]["frame_index"] < 23


def test_the_bundled_detector_judges_the_demo(demo_clip: Path, tmp_path: Path) -> None:
    result = tmp_path / "demo.json"
    assert score(demo_clip, "--json", result) == 0
    values = json.loads(result.read_text())
    assert values["num_frames_scored"] == 3
    assert values["detector"]["name"] == "faces-mobilenetv2"
    assert values["verdict"] == "real"  # its second half is forged, and missed: examples/README.md says so


def test_a_crop_list_becomes_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.data.test_crop_lists import published

    root = published(tmp_path / "in")
    arguments = ["import-crops", str(root), "--out", str(tmp_path / "out"), "--dataset", "made"]
    assert main([*arguments, "--margin", "0.9", "--rename-split", "val=test", "--val-fraction", "0.25"]) == 0
    assert "made made test fake: 2 videos, 2 rows" in capsys.readouterr().out
    assert main([*arguments, "--margin", "0.9", "--rename-split", "val"]) == 2
    assert "--rename-split: is 'val'; must be OLD=NEW" in capsys.readouterr().err
