"""Temporary folders of killed processes are removed, those of running ones are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detect.errors import OutputError
from deepfake_detect.io.scratch import remove_abandoned, scratch_folder

OLD_SECONDS = 1_000_000_000
KILLED = """
import os, sys
from deepfake_detect.io.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "half.mp4").write_bytes(b"half")
    print(folder)
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_what_a_killed_process_left_is_removed_by_the_next(temporary: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True)
    abandoned = Path(done.stdout.strip()).parent
    assert (abandoned / "files" / "half.mp4").is_file()
    (temporary / "deepfake_detect.link").symlink_to(temporary)
    with scratch_folder() as mine:
        assert abandoned.is_dir()  # it is young: its process may be about to lock it
        for folder in (abandoned, mine.parent):
            os.utime(folder, (OLD_SECONDS, OLD_SECONDS))
        remove_abandoned.cache_clear()
        with scratch_folder():
            assert not abandoned.exists()
            assert mine.is_dir()
    assert [path.name for path in temporary.iterdir()] == ["deepfake_detect.link"]


def test_no_room_is_one_line(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(temporary / "none"))
    with (
        pytest.raises(
            OutputError, match=r"none: cannot be written \(No such file or directory\); set TMPDIR"
        ),
        scratch_folder(),
    ):
        pass
