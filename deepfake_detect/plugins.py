"""Plug-ins: installed packages that add backbones, heads, losses, metrics and other parts.

A package names a module, or a function without arguments, in the entry-point group
``deepfake_detect.plugins``; importing the module, or calling the function, registers its parts::

    [project.entry-points."deepfake_detect.plugins"]
    my_plugin = "my_package.parts"

They are loaded once, when a registry is first asked for something that is not built in.
"""

from __future__ import annotations

import logging
import threading
import warnings
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version

_log = logging.getLogger(__name__)

GROUP = "deepfake_detect.plugins"
_OWN = __name__.partition(".")[0]
_lock = threading.RLock()
_failures: dict[str, str] | None = None


@dataclass(frozen=True)
class PluginPart:
    """A part of a detector that a plug-in registered, as the detector's file records it.

    Attributes:
        kind: Kind of the part, such as ``"backbone"``.
        name: Name under which it is registered.
        distribution: Installed package that provides it, or the module where no package does.
        version: Version of the package; ``""`` where no package provides it.
    """

    kind: str
    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        package = f"{self.distribution} {self.version}".rstrip()
        return f"{self.kind} {self.name!r} of the plug-in {package}"

    @property
    def is_installed(self) -> bool:
        """Whether the package is installed, in any version."""
        try:
            version(self.distribution)
        except (PackageNotFoundError, ValueError):
            return False
        return True


def load_plugins() -> dict[str, str]:
    """Load the installed plug-ins, the first time this is called.

    A plug-in that fails is left out with a warning that names it.

    Returns:
        Why each plug-in that failed did, by package name.
    """
    global _failures
    with _lock:
        if _failures is None:
            _failures = {}  # set first: a plug-in may look parts up while it is loaded
            for entry in entry_points(group=GROUP):
                _load(entry, _failures)
        return _failures


def plugin_part(kind: str, name: str, module: str) -> PluginPart | None:
    """Return the record of a part that a module registered; ``None`` for the library's own.

    Args:
        kind, name: As of :class:`PluginPart`.
        module: ``__module__`` of the part.

    Example:
        >>> plugin_part("loss", "mine", "my_script")
        PluginPart(kind='loss', name='mine', distribution='my_script', version='')
    """
    package = module.partition(".")[0]
    if package == _OWN:
        return None
    for entry in entry_points(group=GROUP):
        if entry.module.partition(".")[0] == package and entry.dist is not None:
            return PluginPart(kind, name, entry.dist.name, entry.dist.version)
    return PluginPart(kind, name, package, "")


def _load(entry: EntryPoint, failures: dict[str, str]) -> None:
    package = entry.name if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
    try:
        loaded = entry.load()
        if callable(loaded):
            loaded()
        _log.info("loaded the plug-in %s", package)
    except Exception as error:  # a plug-in is other people's code: no failure of it may stop a command
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        failures[package] = reason
        warnings.warn(f"the plug-in {package} cannot be loaded ({reason})", stacklevel=3)
