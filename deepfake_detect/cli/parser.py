"""The parser of a command: short help, and the options that every command has."""

from __future__ import annotations

import argparse
import inspect
import logging
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepfake_detect.cli.arguments import IS_RARE
from deepfake_detect.logs import show_log
from deepfake_detect.progress import quiet


class CommandParser(argparse.ArgumentParser):
    """Parser of one command.

    Args:
        program: How the command is called.
        description: The docstring of its module; its paragraphs are filled to the terminal's width, except
            for indented lines.
    """

    def __init__(self, program: str, description: str | None) -> None:
        super().__init__(
            prog=program,
            description=inspect.cleandoc(description or ""),
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.shows_all = False

    def add_common_options(self) -> None:
        """Add the options that every command has; call it after the command's own."""
        group = self.add_argument_group("output and help")
        loudness = group.add_mutually_exclusive_group()
        loudness.add_argument("-q", "--quiet", action="store_true", help="print results and errors only")
        loudness.add_argument(
            "-v",
            "--verbose",
            action="count",
            default=0,
            help="log each step to standard error; -vv adds details",
        )
        group.add_argument("-h", "--help", action=_Help, help="show this help")
        if any(_is_rare(action) for action in self._actions):
            group.add_argument("--help-all", action=_Help, help="show all options, including rare ones")

    def format_help(self) -> str:
        """Return the help text, with rare options only where all were asked for."""
        if self.shows_all:
            return super().format_help()
        rare = {action: action.help for action in self._actions if _is_rare(action)}
        for action in rare:
            action.help = argparse.SUPPRESS
        try:
            return super().format_help()
        finally:
            for action, text in rare.items():
                action.help = text


@contextmanager
def output_settings(arguments: argparse.Namespace) -> Iterator[None]:
    """Apply ``--quiet`` and ``--verbose`` inside the block, and remove them from the arguments."""
    is_quiet, verbosity = (vars(arguments).pop(name) for name in ("quiet", "verbose"))
    show_log((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)])
    try:
        with quiet(is_quiet):
            yield
    finally:
        show_log(logging.WARNING)


class _Help(argparse.Action):
    """Prints the help and ends; as ``--help-all`` with the rare options."""

    def __init__(self, option_strings: list[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, 0, default=argparse.SUPPRESS, **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        assert isinstance(parser, CommandParser)
        parser.shows_all = "--help-all" in self.option_strings
        parser.print_help()
        parser.exit()


class _Formatter(argparse.HelpFormatter):
    """A usage line without the optional options, and paragraphs filled unless they are indented."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        choices = [group for group in groups if group.required]
        needed = [one for one in actions if one.required or not one.option_strings]
        needed = [one for one in needed if not any(one in group._group_actions for group in choices)]
        parts = [_usage_of(one) for one in needed if one.option_strings]
        parts += ["(" + " | ".join(_usage_of(one) for one in group._group_actions) + ")" for group in choices]
        parts += [
            part.strip()
            for one in needed
            if not one.option_strings
            for part in [self._format_args(one, self._get_default_metavar_for_positional(one))]
        ]
        super().add_usage(" ".join([self._prog, *parts, "[options]"]), actions, groups, prefix)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)  # names are copied

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = [block.splitlines() for block in text.split("\n\n")]
        return "\n\n".join(
            "\n".join(block) if block[0].startswith(" ") else textwrap.fill(" ".join(block), width)
            for block in blocks
            if block
        )


def _usage_of(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"{action.option_strings[-1]}{value}"


def _is_rare(action: argparse.Action) -> bool:
    return bool(getattr(action, IS_RARE, False))
