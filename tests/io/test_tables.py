"""CSV files that people open in a spreadsheet, and those that they save from one."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from deepfake_detect.io.tables import decode_text, escape_cell, unescape_cell, write_csv

TEXTS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "'",
    "'=1",
    "''-a",
    "'a",
    "a=b",
    "",
    "plain",
    "Ünï",
    "＝1",
)


@pytest.mark.parametrize("text", TEXTS)
def test_escaping_is_reversible(text: str) -> None:
    assert unescape_cell(str(escape_cell(text))) == text


def test_no_cell_is_run(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["text", "number"], [[text, -1.5] for text in TEXTS])
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["text", "number"]
    assert [unescape_cell(text) for text, _ in rows] == list(TEXTS)
    assert not any(text.startswith(tuple("=+-@\t\r＝")) for text, _ in rows)
    assert {number for _, number in rows} == {"-1.5"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_is_read(encoding: str) -> None:
    assert decode_text("path,label\nä.mp4,1\n".encode(encoding)) == "path,label\nä.mp4,1\n"


def test_other_encodings_are_an_error() -> None:
    with pytest.raises(UnicodeDecodeError):
        decode_text("ä.mp4,1".encode("latin-1"))
    assert decode_text("ä".encode("latin-1"), errors="replace") == "�"
    assert decode_text(b"") == ""
    assert decode_text(b"a") == "a"
