"""An extension of griffe: the section `Example:` of a docstring is code, as its section `Examples:` is."""

from __future__ import annotations

import re
from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Renames the section of every docstring."""

    def on_object(self, *, obj: griffe.Object, **context: Any) -> None:
        """Rename the section in an object's docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
