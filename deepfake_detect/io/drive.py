"""Google Drive's page that asks to confirm the download of a large file."""

from __future__ import annotations

import urllib.parse
from html.parser import HTMLParser

from deepfake_detect.errors import FetchError

DRIVE_HOSTS = ("drive.google.com", "drive.usercontent.google.com", "docs.google.com")
"""Hosts that answer with such a page."""


def asks_to_confirm(url: str, content_type: str) -> bool:
    """Return whether what came of an address is a page of Google Drive instead of the file.

    Example:
        >>> asks_to_confirm("https://drive.google.com/uc?id=1", "text/html; charset=utf-8")
        True
    """
    return urllib.parse.urlsplit(url).hostname in DRIVE_HOSTS and content_type.startswith("text/html")


def confirmed_address(url: str, page: str) -> str:
    """Return the address that a page of Google Drive leads to, by its form or its link.

    Args:
        url: Address of the page.
        page: Its HTML.

    Raises:
        FetchError: There is neither: the file is not shared, or was downloaded too often today.

    Example:
        >>> page = '<form action="/download"><input name="id" value="7"></form>'
        >>> confirmed_address("https://drive.usercontent.google.com/uc?id=7", page)
        'https://drive.usercontent.google.com/download?id=7'
    """
    form = _Form()
    form.feed(page)
    if form.action is not None and form.fields:
        target, _, query = form.action.partition("?")
        fields = dict(urllib.parse.parse_qsl(query)) | form.fields
        return urllib.parse.urljoin(url, f"{target}?{urllib.parse.urlencode(fields)}")
    if form.link is not None:
        return urllib.parse.urljoin(url, form.link)
    cause = (
        "returned a web page instead of a file: it is not shared publicly, or its download quota is used up"
    )
    raise FetchError(url, cause, "download it in a browser, and pass it as a local file")


class _Form(HTMLParser):
    """Finds the first form with its hidden fields, and the first link with a confirmation."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.link: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None and "download" in found.get("action", ""):
            self.action = found["action"]
        elif tag == "input" and self.action is not None and found.get("name"):
            self.fields[found["name"]] = found.get("value", "")
        elif tag == "a" and self.link is None and "confirm=" in found.get("href", ""):
            self.link = found["href"]
