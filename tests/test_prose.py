"""Phrases that the documentation avoids, and what to write instead; ``docs/words.txt`` has single words."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

PHRASES = {
    r"\d %": "95%, without a space",
    r"\b(tell|tells|told) \w+ apart\b": "distinguish",
    r"\bset apart\b": "hold out",
    r"\blooked for\b": "detected, searched for",
    r"\bstands? still\b": "show a still image, stop",
    r"\b(whole|entire) network\b": "model",
    r"\bleaves? (it|them) out\b": "omit, skip",
    r"\bfrom \.\d+ on\b": "at least",
    r"\bthe same to the byte\b": "byte-identical",
    r"\ba run that is \w+ed\b": "an interrupted run",
    r"\bsome (hundredths|thousand|minutes|seconds)\b": "a few",
    r"\bis not taken up\b": "is not continued",
}
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "deepfake_detect" / "weights" / "README.md",
]


def _found(text: str) -> list[str]:
    return [f"{m[0]!r}: write {instead}" for one, instead in PHRASES.items() for m in re.finditer(one, text)]


def test_the_pages_avoid_the_phrases() -> None:
    assert {page.name: found for page in PAGES if (found := _found(page.read_text("utf-8")))} == {}


@pytest.mark.parametrize("text", ["95 % of them", "tell people apart", "from .88 on", "set apart for val"])
def test_a_phrase_is_found(text: str) -> None:
    assert len(_found(text)) == 1
