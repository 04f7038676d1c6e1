"""What every command has: help that fits a screen, -q and -v, exit codes, completion."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detect.cli import completion, main, notes
from deepfake_detect.cli.main import COMMANDS, EXIT_CODES, LAB_COMMANDS, Command, parser_of
from deepfake_detect.cli.parser import CommandParser, output_settings
from deepfake_detect.logs import shown_level
from deepfake_detect.progress import is_quiet
from tests.conftest import ROOT

SCREEN = 45
ALL = {**COMMANDS, **{f"lab {name}": command for name, command in LAB_COMMANDS.items()}}


@pytest.fixture(params=ALL)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CommandParser:
    monkeypatch.setenv("COLUMNS", "80")
    return parser_of(ALL[request.param], f"deepfake-detect {request.param}")


def test_help_fits_a_screen(parser: CommandParser) -> None:
    shown = parser.format_help().splitlines()
    assert len(shown) <= SCREEN, "leave rare options to --help-all (shown=... of add_options)"
    assert max(map(len, shown[1:])) <= 110  # names and examples are not broken
    assert shown[0].startswith(f"usage: {parser.prog} ")


def test_help_all_shows_every_option(parser: CommandParser) -> None:
    short = parser.format_help()
    parser.shows_all = True
    long = parser.format_help()
    flags = [action.option_strings[-1] for action in parser._actions if action.option_strings]
    assert [flag for flag in flags if flag not in long] == []
    assert ("--help-all" in short) == (len(long) > len(short))


def test_every_command_can_be_quiet_and_verbose(parser: CommandParser) -> None:
    flags = {flag for action in parser._actions for flag in action.option_strings}
    assert {"-q", "--quiet", "-v", "--verbose", "-h", "--help"} <= flags
    assert not parser.allow_abbrev


def test_help_all_is_a_flag_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for flag in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as stop:
            main(["train", flag])
        assert stop.value.code == 0
        shown[flag] = capsys.readouterr().out
    assert "--mixup" not in shown["--help"]
    assert "--mixup" in shown["--help-all"]
    assert shown["--help"].startswith("usage: deepfake-detect train [options]\n")


def test_usage_names_what_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usages = {
        "merge": "usage: deepfake-detect merge --out OUT FILE [FILE ...] [options]",
        "explain": "usage: deepfake-detect explain --out DIR [CLIP ...] [options]",
        "neighbors": "usage: deepfake-detect neighbors --features FILE "
        "(--crops FILE | --video ID | --precision | --across-splits COSINE) [options]",
        "score-video": "usage: deepfake-detect score-video [CLIP ...] [options]",
    }
    for name, usage in usages.items():
        assert parser_of(COMMANDS[name], f"deepfake-detect {name}").format_usage() == f"{usage}\n"


def test_abbreviated_options_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["score-video", "a.mp4", "--detect", "x"])
    assert stop.value.code == 2
    assert "unrecognized arguments: --detect" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"deepfake_detect \d+\.\d+\S*\n", capsys.readouterr().out)


def test_exit_codes_are_in_help_and_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    for code, words in EXIT_CODES.items():
        assert f"{code:>5}  {words}\n" in shown
        assert f"| {code} | {words} |" in page


@pytest.mark.parametrize(
    ("flags", "is_shown", "level"),
    [([], True, 30), (["-q"], False, 30), (["-v"], True, 20), (["-vv"], True, 10), (["-vvv"], True, 10)],
)
def test_quiet_and_verbose(
    flags: list[str], is_shown: bool, level: int, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = parser_of(COMMANDS["card"], "deepfake-detect card")
    arguments = parser.parse_args(flags)
    with output_settings(arguments):
        assert (is_quiet(), shown_level()) == (not is_shown, level)
        notes.note("wrote a")
        notes.note_aside("wrote b")
    assert not hasattr(arguments, "quiet")  # commands pass all their arguments on
    assert capsys.readouterr() == (("wrote a\n", "wrote b\n") if is_shown else ("", ""))
    assert shown_level() == logging.WARNING


def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["datasets", "-q", "-v"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    found = {}
    for shell in completion.SHELLS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", out := io.StringIO())
            assert main(["completion", shell]) == 0
        found[shell] = out.getvalue()
    return found


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deepfake-detect ex", {"explain", "extract-faces", "extract-features", "export", "export-index"}),
        ("deepfake-detect lab train", {"train-classifier", "train-gan"}),
        ("deepfake-detect score-video --runtime o", {"onnx", "openvino"}),
        ("deepfake-detect train --mix", {"--mixup"}),
    ],
)
def test_bash_completes(scripts: dict[str, str], line: str, offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "script").write_text(scripts["bash"])
    program = (
        f"source {tmp_path / 'script'}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        '_shtab_deepfake_detect; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_every_command(scripts: dict[str, str], shell: str) -> None:
    assert [name for name in (*COMMANDS, *LAB_COMMANDS) if name not in scripts[shell]] == []


def test_a_missing_completion_library_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "install the extra 'completion'" in capsys.readouterr().err


def test_an_unknown_command_module_is_a_bug_and_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError):
        parser_of(Command("score", "deepfake_detect.cli.absent", ""), "deepfake-detect absent")


def test_an_interrupted_command_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepfake_detect.cli.datasets.run", interrupt)
    assert main(["datasets"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_ends_first_ends_the_command_with_141() -> None:
    program = f"{sys.executable} -c 'import sys; from deepfake_detect.cli import main; sys.exit(main())'"
    done = subprocess.run(
        ["bash", "-c", f"{program} datasets | (exec 0<&-; wait); echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
