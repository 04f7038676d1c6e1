"""The list of real data, and the folder in which it is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import data_sets


def test_each_file_is_listed_with_its_source_and_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(data_sets.VARIABLE, str(tmp_path))
    (tmp_path / "lfw").mkdir()
    (tmp_path / "lfw" / "lfw_2000.tar").touch()
    assert data_sets.main() == 1
    printed = capsys.readouterr().out
    assert "files   lfw/lfw_2000.tar (present)" in printed
    assert printed.count("missing)") == sum(len(one.files) for one in data_sets.DATA_SETS) - 1
    assert all(one.source in printed and one.terms in printed for one in data_sets.DATA_SETS)


def test_the_variable_must_name_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data_sets.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(NotADirectoryError, match="DEEPFAKE_DETECT_TEST_DATA: .*gone is no folder; unset it"):
        data_sets.data_folder()


def test_a_missing_file_skips_and_an_unlisted_one_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_data: Callable[[str], Path]
) -> None:
    monkeypatch.setenv(data_sets.VARIABLE, str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="lfw/lfw_2000.tar is missing: see python tests/data_"):
        real_data("lfw/lfw_2000.tar")
    with pytest.raises(AssertionError, match="other.mp4: add it to tests/data_sets.py"):
        real_data("other.mp4")
