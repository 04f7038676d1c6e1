"""Options as dataclass fields: each field defines its default, type, range, choices and help.

The command line, YAML files, range checks and the option tables of the documentation are generated
from the fields. jsonargparse and tyro were tried for this: importing either takes a third of the time
that ``--help`` may take, and neither knows ranges, so the checks would still be ours.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from deepfake_detect.errors import OptionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Options = TypeVar("_Options", bound=DataclassInstance)

_KEY = "option"
_TRUE_FALSE = {"true": True, "false": False, "yes": True, "no": False}


@dataclasses.dataclass(frozen=True)
class Option:
    """Metadata of an option, in addition to its default and type.

    Attributes:
        help: One line for ``--help`` and the documentation.
        low, high: Smallest and largest allowed value; ``None`` means no bound.
        above, below: Exclusive bounds.
        choices: Allowed values, or a function that returns them where they are registered at run
            time; empty allows all. A ``Literal`` type needs none.
        flag: Flag of the command line where it is not ``--field-name`` (for a bool that is true by
            default, ``--no-field-name``); without dashes the argument is positional.
        aliases: Further flags that mean the same.
        metavar: Stands for the value in ``--help``.
        is_hidden: Whether to hide it from the command line.
        is_repeated: Whether each item of a sequence has a flag of its own: ``--detector A --detector B``.
    """

    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Sequence[Any] | Callable[[], Sequence[Any]] = ()
    flag: str | None = None
    metavar: str | None = None
    is_hidden: bool = False
    aliases: tuple[str, ...] = ()
    is_repeated: bool = False


@dataclasses.dataclass(frozen=True)
class OptionField:
    """One option of a dataclass, ready to be shown, parsed or checked.

    Attributes:
        name: Of the field.
        kind: ``int``, ``float``, ``bool``, ``str`` or ``Path``: the type of the value, or of the items
            where ``is_sequence``.
        is_optional: Whether ``None`` is allowed.
        is_sequence: Whether the value is a tuple of items.
        default: ``dataclasses.MISSING`` where the option is required.
        listed: Choices that are known without loading what registers them; empty for others.
        option: The rest.
    """

    name: str
    kind: type
    is_optional: bool
    is_sequence: bool
    default: Any
    listed: tuple[Any, ...]
    option: Option

    @property
    def choices(self) -> tuple[Any, ...]:
        """Allowed values; empty allows all. Names that are registered at run time load their room."""
        return tuple(self.option.choices()) if callable(self.option.choices) else self.listed

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is dataclasses.MISSING

    @property
    def flag(self) -> str:
        """The flag of the command line."""
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    @property
    def allowed(self) -> str:
        """What is allowed, in words: choices, a range, or the type."""
        if self.choices:
            return f"one of {', '.join(str(choice) or repr(choice) for choice in self.choices)}"
        return _range_in_words(self.option) or _KIND_WORDS[self.kind]


_KIND_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", Path: "a path"}


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,  # noqa: A002 - argparse's word, which everyone knows
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] | Callable[[], Sequence[Any]] = (),
    flag: str | None = None,
    metavar: str | None = None,
    is_hidden: bool = False,
    aliases: tuple[str, ...] = (),
    is_repeated: bool = False,
) -> Any:
    """Return a dataclass field that is an option.

    Args:
        default: Value when the option is not given; without one the option is required.
        help, low, high, above, below, choices, flag, metavar, is_hidden, aliases,
            is_repeated: See :class:`Option`.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Sampling:
        ...     num_frames: int = option(32, help="evenly spaced frames to sample", low=1, flag="--frames")
        ...     def __post_init__(self) -> None:
        ...         check_options(self)
        >>> Sampling(num_frames=0)
        Traceback (most recent call last):
        deepfake_detect.errors.OptionError: num_frames: is 0; must be 1 or more
    """
    described = Option(help, low, high, above, below, choices, flag, metavar, is_hidden, aliases, is_repeated)
    return dataclasses.field(default=default, metadata={_KEY: described})


def option_fields(cls: type[DataclassInstance]) -> tuple[OptionField, ...]:
    """Return the options of a dataclass, in order; fields without :func:`option` are none."""
    hints = typing.get_type_hints(cls)
    return tuple(
        _option_field(field, hints[field.name]) for field in dataclasses.fields(cls) if _KEY in field.metadata
    )


def check_options(options: DataclassInstance) -> None:
    """Check each option of an instance against its choices and range; call it in ``__post_init__``.

    Raises:
        OptionError: A value is not allowed; it names the field, the value and what is allowed.
    """
    for field in option_fields(type(options)):
        value = getattr(options, field.name)
        if value is None and field.is_optional:
            continue
        for item in value if field.is_sequence else (value,):
            if not _is_allowed(item, field):
                raise OptionError(field.name, f"is {item!r}", f"must be {field.allowed}")


def options_from_mapping(
    cls: type[_Options], values: Mapping[str, Any], *, source: str, also: Mapping[str, Any] | None = None
) -> _Options:
    """Make an instance from option values by name, as a YAML file or a command line gives them.

    Args:
        cls: The dataclass.
        values: By field name; YAML's types are converted (it reads ``4e-4`` and paths as text).
        source: Where the values come from, for errors: ``"run.yaml"``, ``"the command line"``.
        also: Values of fields that are no options, taken unchanged.

    Raises:
        OptionError: An option is unknown, missing, of another type or out of range.
    """
    fields = {field.name: field for field in option_fields(cls)}
    if unknown := sorted(map(str, set(values) - set(fields))):
        raise OptionError(source, f"unknown options: {', '.join(unknown)}", f"known: {', '.join(fields)}")
    missing = [f"`{name}`" for name, field in fields.items() if field.is_required and name not in values]
    if missing:
        raise OptionError(source, f"missing required options: {', '.join(missing)}", "add them")
    converted = {name: _converted(fields[name], value) for name, value in values.items()}
    return cls(**converted, **(also or {}))


def read_options_file(path: str | Path) -> dict[str, Any]:
    """Read option values by name from a YAML file.

    Raises:
        OptionError: It cannot be read, or holds no mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise OptionError(str(path), f"cannot be read ({reason})", "pass a YAML file of options") from error
    if not isinstance(values, Mapping):
        raise OptionError(str(path), "contains no options", "write one 'name: value' per line")
    return {str(name): value for name, value in values.items()}


def option_table(cls: type[DataclassInstance]) -> str:
    """Return the options as a Markdown table: flag, default, allowed values, help."""
    lines = ["| option | default | allowed | what it does |", "|---|---|---|---|"]
    for field in option_fields(cls):
        default = "required" if field.is_required else _default_in_words(field)
        flag = field.flag if field.default is not True else f"--no-{field.name.replace('_', '-')}"
        lines.append(f"| `{flag}` | {default} | {field.allowed} | {field.option.help} |")
    return "\n".join(lines) + "\n"


def _option_field(field: dataclasses.Field[Any], hint: Any) -> OptionField:
    described: Option = field.metadata[_KEY]
    is_optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        is_optional = len(kinds) < len(typing.get_args(hint))
        hint = Path if Path in kinds else kinds[0]
    is_sequence = typing.get_origin(hint) is tuple
    if is_sequence:
        hint = typing.get_args(hint)[0]
    choices = () if callable(described.choices) else described.choices
    if typing.get_origin(hint) is Literal:
        choices = choices or typing.get_args(hint)
        hint = type(choices[0])
    return OptionField(field.name, hint, is_optional, is_sequence, field.default, tuple(choices), described)


def _is_allowed(value: Any, field: OptionField) -> bool:
    if field.choices:
        return value in field.choices
    one = field.option
    return (
        (one.low is None or value >= one.low)
        and (one.high is None or value <= one.high)
        and (one.above is None or value > one.above)
        and (one.below is None or value < one.below)
    )


def _range_in_words(one: Option) -> str:
    low = one.low if one.above is None else one.above
    high = one.high if one.below is None else one.below
    above, below = ("above " if one.above is not None else ""), ("below " if one.below is not None else "")
    if low is None and high is None:
        return ""
    if high is None:
        return f"{above}{low:g}" if above else f"{low:g} or more"
    if low is None:
        return f"{below}{high:g}" if below else f"{high:g} or less"
    if not above and not below:
        return f"{low:g} to {high:g}"
    return f"{above or 'at least '}{low:g} and {below or 'at most '}{high:g}"


def _default_in_words(field: OptionField) -> str:
    if field.default is None or field.default in ("", ()):
        return "none"
    return " ".join(map(str, field.default)) if field.is_sequence else str(field.default)


def _converted(field: OptionField, value: Any) -> Any:
    """Return a value as the type of its field."""
    wrong = OptionError(field.name, f"is {value!r}", f"must be {field.allowed}")
    if value is None:
        if field.is_optional:
            return None
        if not field.is_sequence:
            raise wrong
        return ()
    if field.is_sequence:
        items = value if isinstance(value, (list, tuple)) else (value,)
        if field.kind in (int, float):  # "1,2,3" is three numbers
            items = [
                part for item in items for part in (item.split(",") if isinstance(item, str) else [item])
            ]
        return tuple(_converted_item(field, item, wrong) for item in items)
    return _converted_item(field, value, wrong)


def _converted_item(field: OptionField, value: Any, wrong: OptionError) -> Any:
    kind = field.kind
    if kind is bool:
        found = _TRUE_FALSE.get(str(value).lower())
        if found is None:
            raise wrong
        return found
    if isinstance(value, bool) and field.choices and kind is str:
        value = next((choice for choice in field.choices if _TRUE_FALSE.get(choice) is value), value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Path)):
        raise wrong
    if kind in (int, float):
        if isinstance(value, Path):
            raise wrong
        try:
            number = float(value)
        except ValueError as error:
            raise wrong from error
        if kind is int and not number.is_integer():
            raise wrong
        return int(value) if kind is int and not isinstance(value, float) else kind(number)
    if kind is Path and "://" in str(value):
        return str(value)  # an address: a path would lose one of its slashes
    return kind(value)
