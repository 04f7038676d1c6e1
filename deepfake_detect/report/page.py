"""HTML pages that need no other file, from the templates in ``report/templates``, and Markdown tables."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deepfake_detect.io.files import atomic_path

if TYPE_CHECKING:
    from jinja2 import Environment

_JPEG_QUALITY = 88


def render(template: str, *, package: str = "deepfake_detect.report", **values: object) -> str:
    """Return a page from a template; values are escaped, whatever they contain.

    Args:
        template: File name in the package's folder ``templates``.
        package: Where the template is. Templates of other packages can extend those of this one.
        values: What the template shows.

    Example:
        >>> page = render("comparison.html.j2", title="<b>", notes=[], settings="", figure="", tables=[])
        >>> "<title>&lt;b&gt;</title>" in page
        True
    """
    return _environment(package).get_template(template).render(values)


@lru_cache
def _environment(package: str) -> Environment:
    # Imported here so that scoring without a report does not load it.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    packages = dict.fromkeys([package, "deepfake_detect.report"])
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    return environment


def _unbroken(text: str) -> str:
    """Return a cell's text that can break only between a number and its interval."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("\N{NO-BREAK SPACE}[", " [")


def data_url(data: bytes, *, mime: str) -> str:
    """Return bytes as an address that contains them."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def jpeg_url(image: np.ndarray, *, quality: int = _JPEG_QUALITY) -> str:
    """Return an RGB uint8 image (H, W, 3), encoded as JPEG, as an address that contains it."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done, "an image of this size can be encoded"
    return data_url(data.tobytes(), mime="image/jpeg")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a Markdown table of plain text.

    Example:
        >>> print(markdown_table(["method", "AUC"], [["<a>|b", "0.9"]]))
        | method | AUC |
        |---|---:|
        | &lt;a&gt;\|b | 0.9 |
    """
    lines = [list(header), *(list(row) for row in rows)]
    text = ["| " + " | ".join(map(_markdown_cell, line)) + " |" for line in lines]
    return "\n".join([text[0], "|---|" + "---:|" * (len(header) - 1), *text[1:]])


def _markdown_cell(text: str) -> str:
    # Markdown passes tags through, and a line break would end the row.
    return " ".join(escape(text, quote=False).replace("|", "\\|").splitlines())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        # A file name may contain bytes that are not valid text: they are written as escapes.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
