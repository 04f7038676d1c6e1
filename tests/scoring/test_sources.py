from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from deepfake_detect.errors import FetchError, OptionError
from deepfake_detect.scoring import ClipSource, find_clips
from deepfake_detect.scoring.clip_scorer import ClipScorer
from deepfake_detect.scoring.options import ScoringOptions


def names(folder: Path, *given: object, **options: object) -> list[str]:
    found = find_clips([str(one) for one in given], scratch=folder, **options)  # type: ignore[arg-type]
    return [os.path.relpath(clip.name, folder) for clip in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a/z.MOV", "a/y.jpg", "a/notes.txt", ".hidden.mp4", ".cache/c.mp4", "d.csv"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "clips"


def test_a_folder_is_its_videos_and_pictures_sorted(folder: Path) -> None:
    assert names(folder, folder) == ["a/y.jpg", "a/z.MOV", "b.mp4"]


def test_each_file_is_meant_once_in_the_order_given(folder: Path) -> None:
    assert names(folder, folder / "b.mp4", folder, folder / "a" / ".." / "b.mp4") == [
        *("b.mp4", "a/y.jpg", "a/z.MOV")
    ]


def test_links_that_lead_out_are_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "clips_secret").mkdir()
    (tmp_path / "clips_secret" / "s.mp4").write_bytes(b"")
    (folder / "link.mp4").symlink_to(tmp_path / "clips_secret" / "s.mp4")
    (folder / "linked").symlink_to(tmp_path / "clips_secret")
    (folder / "inside.mp4").symlink_to(folder / "b.mp4")
    assert names(folder, folder) == ["a/y.jpg", "a/z.MOV", "b.mp4"]
    (tmp_path / "way").symlink_to(folder)
    assert len(names(folder, tmp_path / "way")) == 3  # a link that is named itself is followed


def test_images_of_phones_are_found(tmp_path: Path) -> None:
    for name in ("a.HEIC", "b.heif", "c.avif", "d.JPG"):
        (tmp_path / name).touch()
    assert names(tmp_path, tmp_path) == ["a.HEIC", "b.heif", "c.avif", "d.JPG"]


def test_results_inside_the_folder_are_no_clips(folder: Path) -> None:
    assert names(folder, folder, leave_out=folder / "a") == ["b.mp4"]
    assert names(folder, folder, leave_out=folder) == ["a/y.jpg", "a/z.MOV", "b.mp4"]


def test_a_folder_without_clips_and_files_that_are_not_there_are_kept_to_be_told_of(tmp_path: Path) -> None:
    assert names(tmp_path, tmp_path, tmp_path / "absent.mp4") == [".", "absent.mp4"]


def test_addresses_are_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nothing is downloaded unless you allow it; set `allow_url`"):
        find_clips(["https://example.org/a.mp4"], scratch=tmp_path)
    for address in ("file:///etc/passwd", "ftp://example.org/a.mp4", "RTSP://camera"):
        with pytest.raises(OptionError, match="URLs are not supported for clips"):
            find_clips([address], scratch=tmp_path, allow_url=True)
    (clip,) = find_clips(["HTTP://example.org/a.mp4"] * 2, scratch=tmp_path, allow_url=True)
    assert (clip.name, clip.path) == ("HTTP://example.org/a.mp4", None)


class _Stdin(io.TextIOWrapper):
    is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal


def test_standard_input_becomes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = _Stdin(io.BytesIO(b"\0\xff" * 3_000_000))
    monkeypatch.setattr(sys, "stdin", stdin)
    (clip,) = find_clips(["-"], scratch=tmp_path)
    assert clip.name == "-"
    assert clip.path is not None
    assert Path(clip.path).read_bytes() == b"\0\xff" * 3_000_000
    with pytest.raises(OptionError, match="standard input is given twice"):
        find_clips(["-"], scratch=tmp_path)
    stdin.is_terminal = True
    with pytest.raises(OptionError, match="standard input is a terminal"):
        find_clips(["-"], scratch=tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("https://example.org/a/b.mp4?t=1", "b"),
        ("https://example.org:80/", "example.org_80"),
        ("http://example.org/watch?v=../../x", "watch"),
    ],
)
def test_files_about_a_fetched_clip_have_a_plain_name(name: str, stem: str) -> None:
    assert ClipSource(name, None).stem == stem


def test_a_folder_that_cannot_be_listed_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(self: object) -> list[str]:
        raise FetchError("s3://faces", "cannot be listed", "check the URL")

    monkeypatch.setattr("deepfake_detect.io.fetch.RemoteDir.files", files)
    clips = find_clips(["s3://faces", "examples/demo.mp4"], scratch=Path("."), allow_url=True)
    assert [clip.name for clip in clips] == ["s3://faces", "examples/demo.mp4"]
    assert str(clips[0].error) == "s3://faces: cannot be listed; check the URL"
    item = ClipScorer(cast(Any, None), ScoringOptions(), Path(".")).score(clips[0])
    assert (item.source, item.error, item.result) == ("s3://faces", clips[0].error, None)
