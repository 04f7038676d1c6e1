"""Print a script that lets your shell complete commands, options and files.

    bash  deepfake-detect completion bash > ~/.local/share/bash-completion/completions/deepfake-detect
    zsh   deepfake-detect completion zsh > ~/.zfunc/_deepfake-detect      (a folder of $fpath)
    fish  deepfake-detect completion fish > ~/.config/fish/completions/deepfake-detect.fish

Needs the extra completion. Run it again after an update.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", choices=SHELLS, metavar="{" + ",".join(SHELLS) + "}", help="shell to complete commands in"
    )


def run(arguments: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(_all_commands(), shell=arguments.shell))  # nosec B604 # the name of a shell, which is not run
    return 0


def _all_commands() -> argparse.ArgumentParser:
    """Return one parser with all commands below it, as shtab needs it."""
    from deepfake_detect.cli.main import COMMANDS, LAB_COMMANDS

    whole = argparse.ArgumentParser(prog="deepfake-detect")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers()
    _add(commands, COMMANDS, "deepfake-detect")
    lab = commands.add_parser("lab", help="GANs, Deep Dream, filters, face maps")
    _add(lab.add_subparsers(), LAB_COMMANDS, "deepfake-detect lab")
    return whole


def _add(commands: Any, table: Any, prefix: str) -> None:
    import shtab

    from deepfake_detect.cli.main import parser_of

    for name, command in table.items():
        full = parser_of(command, f"{prefix} {name}")
        for action in full._actions:
            metavar = str(action.metavar or "")
            if metavar.startswith("{") and action.choices is None:
                action.choices = metavar.strip("{}").split(",")
            elif metavar in ("PATH", "FILE", "DIR", "CLIP", "PNG", "HTML") or action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        commands.add_parser(name, help=command.summary, parents=[full], add_help=False)
