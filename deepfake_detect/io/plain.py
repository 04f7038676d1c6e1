"""Dataclasses from plain JSON values, with every key and type checked."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Record = TypeVar("_Record", bound=DataclassInstance)

_SCALARS: dict[type, str] = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


def from_plain(cls: type[_Record], values: object, *, name: str = "") -> _Record:
    """Make a dataclass of JSON values, such as a file of unknown origin holds.

    Args:
        cls: The dataclass; fields without a default are required.
        values: By field name.
        name: Where the values are, for errors: ``"config.model"``.

    Raises:
        ValueError: A key is unknown or missing, or a value is of another type or not finite; or what
            the dataclass itself checks.

    Example:
        >>> from deepfake_detect.records import CropGeometry
        >>> from_plain(CropGeometry, {"margin": 2})
        CropGeometry(margin=2.0, aligned=False)
        >>> from_plain(CropGeometry, {"margin": "2"}, name="geometry")
        Traceback (most recent call last):
        ValueError: geometry.margin is '2', must be a number
    """
    if not isinstance(values, Mapping):
        raise _error(name, values, "a mapping")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := sorted(map(str, values.keys() - fields.keys())):
        raise ValueError(f"{name or 'it'} has unknown keys: {', '.join(unknown)}")
    missing = [
        key
        for key, field in fields.items()
        if key not in values and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{name or 'it'} lacks {', '.join(missing)}")
    hints = typing.get_type_hints(cls)
    path = f"{name}." if name else ""
    return cls(**{key: _parsed(hints[key], value, path + key) for key, value in values.items()})


def _parsed(hint: Any, value: object, name: str) -> Any:
    """Return a JSON value as the type of a hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _parsed_union(arguments, value, name)
    if hint in _SCALARS:
        return _parsed_scalar(hint, value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _error(name, value, f"one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _parsed_tuple(arguments, value, name)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _error(name, value, "a mapping")
        return {str(key): _parsed(arguments[1], one, f"{name}.{key}") for key, one in value.items()}
    return (
        from_plain(hint, value, name=name)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint)
        else value
    )


def _parsed_union(kinds: tuple[Any, ...], value: object, name: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    found: ValueError | None = None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _parsed(kind, value, name)
            except ValueError as error:
                found = found or error
    assert found is not None
    raise found


def _parsed_scalar(kind: type, value: object, name: str) -> bool | int | float | str:
    accepted = (int, float) if kind is float else kind
    is_right = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)
    if not is_right or (isinstance(value, float) and not math.isfinite(value)):
        raise _error(name, value, _SCALARS[kind])
    try:
        scalar: bool | int | float | str = kind(value)
    except OverflowError:  # an integer beyond the range of a float
        raise _error(name, value, _SCALARS[kind]) from None
    return scalar


def _parsed_tuple(kinds: tuple[Any, ...], value: object, name: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _error(name, value, "a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _error(name, value, f"a list of {len(kinds)}")
    return tuple(
        _parsed(kind, one, f"{name}[{n}]") for n, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _error(name: str, value: object, wanted: str) -> ValueError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return ValueError(f"{name or 'it'} is {shown}, must be {wanted}")
