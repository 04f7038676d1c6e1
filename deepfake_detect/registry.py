"""Registry: named parts of one kind, built in or added by plug-ins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from deepfake_detect.errors import OptionError
from deepfake_detect.plugins import PluginPart, load_plugins, plugin_part

_Part = TypeVar("_Part")


class Registry(Mapping[str, _Part]):
    """Named parts of one kind. Reading a name that is not built in loads the plug-ins first.

    Args:
        option: Option that takes such a name, for errors: ``"loss"``.
        built_in: The library's own parts.

    Example:
        >>> LOSSES = Registry("loss", {"bce": abs})
        >>> LOSSES.register("focal", round)
        >>> LOSSES.find("focal"), LOSSES.names()
        (<built-in function round>, ('bce', 'focal'))
        >>> LOSSES.find("hinge")
        Traceback (most recent call last):
        deepfake_detect.errors.OptionError: loss: 'hinge' is unknown; must be one of bce, focal
    """

    def __init__(self, option: str, built_in: Mapping[str, _Part]) -> None:
        self.option = option
        self._parts = dict(built_in)
        self._built_in = frozenset(built_in)
        self._modules: dict[str, str] = {}

    def register(self, name: str, part: _Part, *, source: object = None) -> None:
        """Add a part under a name.

        Args:
            name: Its name, not taken yet; running a notebook cell again replaces its own part.
            part: The part.
            source: Class or function whose module counts as the part's; the part itself when
                ``None``.

        Raises:
            OptionError: The name is empty, or registered already by another module.
        """
        module = str(getattr(part if source is None else source, "__module__", "") or "")
        if not isinstance(name, str) or not name:
            raise OptionError(self.option, f"cannot be registered as {name!r}", "pass a name")
        if name in self._built_in or self._modules.get(name, module) != module:
            raise OptionError(self.option, f"{name!r} is registered already", "register another name")
        self._parts[name] = part
        self._modules[name] = module

    def find(self, name: str) -> _Part:
        """Return the part of a name.

        Raises:
            OptionError: No part has this name; the known names are listed.
        """
        if isinstance(name, str) and name in self:
            return self._parts[name]
        raise OptionError(self.option, f"{name!r} is unknown", f"must be one of {', '.join(self)}")

    def names(self) -> tuple[str, ...]:
        """Return the names, built in first; as ``choices`` of an option."""
        return tuple(self)

    def plugin_part(self, name: str) -> PluginPart | None:
        """Return which plug-in registered a part, as detector files record it; ``None`` if built in."""
        return plugin_part(self.option, name, self._modules[name]) if name in self._modules else None

    def find_loaded(self, name: str) -> _Part | None:
        """Return the part of a name without loading plug-ins; ``None`` where there is none."""
        return self._parts.get(name)

    def __getitem__(self, name: str) -> _Part:
        if name not in self._parts:
            load_plugins()
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._parts:
            load_plugins()
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(list(self._parts))

    def __len__(self) -> int:
        load_plugins()
        return len(self._parts)
