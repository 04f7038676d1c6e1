from __future__ import annotations

import pytest

from deepfake_detect.progress import progress_bar


def test_nothing_is_written_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for enabled in (True, False):
        with progress_bar(enabled=enabled) as progress:
            progress.advance(progress.add_task("clips", total=2, note=""))
    assert capsys.readouterr() == ("", "")
