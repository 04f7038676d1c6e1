"""Options of a dataclass as arguments of a parser, and a library's error in a command's flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deepfake_detect.errors import DeepfakeDetectError, OptionError
from deepfake_detect.options import OptionField, option_fields, options_from_mapping, read_options_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Options = TypeVar("_Options", bound=DataclassInstance)

IS_RARE = "is_rare"
"""Attribute of a parser's action: whether only ``--help-all`` shows it."""

_PARAMETER = re.compile(r"`(\w+)`")


def add_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    cls: type[DataclassInstance],
    *,
    leave_out: Collection[str] = (),
    shown: Collection[str] | None = None,
    is_from_file: bool = False,
) -> None:
    """Add the options of a dataclass; those that are not given are absent from the parsed arguments.

    Args:
        parser: Parser, or group of one.
        cls: Dataclass whose fields are :func:`options.option`.
        leave_out: Names of fields that the command gives itself.
        shown: Names of fields that ``--help`` shows, the others being left to ``--help-all``; ``None``
            shows all.
        is_from_file: Whether a YAML file may give required options too, so that the parser asks for
            none.
    """
    for field in option_fields(cls):
        if not field.option.is_hidden and field.name not in leave_out:
            action = _add(parser, field, is_required=field.is_required and not is_from_file)
            vars(action)[IS_RARE] = shown is not None and field.name not in shown


def options_of(
    cls: type[_Options],
    arguments: argparse.Namespace,
    *,
    file: str | Path | None = None,
    source: str = "the command line",
    **also: Any,
) -> _Options:
    """Make the dataclass of what was given: flags first, then the YAML file, then the defaults.

    Raises:
        OptionError: An option is missing or not allowed.
    """
    given = vars(arguments)
    names = {field.name for field in option_fields(cls)}
    values = {name: value for name, value in given.items() if name in names}
    extra = {
        one.name: also.pop(one.name) for one in fields(cls) if one.name in also and one.name not in names
    }
    if file is not None:
        source, values = str(file), {**read_options_file(file), **values}
    return options_from_mapping(cls, {**values, **also}, source=source, also=extra)


def keywords_of(arguments: argparse.Namespace, *classes: type[DataclassInstance]) -> dict[str, Any]:
    """Return the arguments as keywords of a library function that takes the options of some dataclasses.

    Raises:
        OptionError: An option is missing or not allowed.
    """
    keywords = dict(vars(arguments))
    for cls in classes:
        options = options_of(cls, arguments)
        keywords |= {field.name: getattr(options, field.name) for field in option_fields(cls)}
    return keywords


def in_flags(error: DeepfakeDetectError, parser: argparse.ArgumentParser) -> DeepfakeDetectError:
    """Return what a library's error says, with the command's flags in place of parameter names."""
    flags = {
        action.dest: next(
            (flag for flag in action.option_strings if flag.startswith("--")),
            str(action.metavar or action.dest),
        )
        for action in parser._actions  # argparse has no public list of them
    }

    def flagged(text: str) -> str:
        return _PARAMETER.sub(lambda match: flags.get(match[1], match[1]), text)

    subject = flags.get(error.subject, error.subject) if isinstance(error, OptionError) else error.subject
    return DeepfakeDetectError(subject, flagged(error.cause), flagged(error.remedy))


def _add(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, field: OptionField, *, is_required: bool
) -> argparse.Action:
    described = field.option
    more: dict[str, Any] = {"help": _help(field)}
    is_positional = not field.flag.startswith("-")
    if field.kind is bool and field.is_optional:  # --flag, --no-flag, or neither
        more |= {"action": argparse.BooleanOptionalAction, "default": argparse.SUPPRESS}
        return parser.add_argument(field.flag, dest=field.name, **more)
    if field.kind is bool:
        flag = field.flag
        if field.default is True and described.flag is None:
            flag = f"--no-{field.name.replace('_', '-')}"
        action = "store_false" if field.default is True else "store_true"
        return parser.add_argument(flag, dest=field.name, action=action, default=argparse.SUPPRESS, **more)
    if described.is_repeated:
        more["action"] = "append"
    elif field.is_sequence:
        more["nargs"] = "*" if is_positional or field.is_optional else "+"
    if field.listed and len(field.listed) <= _MOST_CHOICES_SHOWN:
        more["metavar"] = described.metavar or "{" + ",".join(str(c) for c in field.listed if c) + "}"
    else:
        more["metavar"] = described.metavar or _METAVARS[field.kind]
    more["default"] = argparse.SUPPRESS
    if is_positional:
        return parser.add_argument(field.name, **{**more, "metavar": described.metavar or field.flag.upper()})
    # Values stay text: the dataclass converts and checks them, and its errors name the option.
    # The flag itself comes before its aliases: usage and errors show the first one.
    return parser.add_argument(field.flag, *described.aliases, dest=field.name, required=is_required, **more)


_MOST_CHOICES_SHOWN = 6
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH", bool: ""}


def _help(field: OptionField) -> str:
    text = field.option.help.replace("%", "%%")
    if field.is_required or field.default in (None, "", ()) or field.kind is bool or "default" in text:
        return text
    default = " ".join(map(str, field.default)) if field.is_sequence else field.default
    return f"{text} (default {default})".replace("%%", "%").replace("%", "%%")
