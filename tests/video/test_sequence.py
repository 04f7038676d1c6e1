"""Frames stored as images: order, sampling, archives, damage."""

from __future__ import annotations

import math
import tarfile
from pathlib import Path

import cv2
import pytest

from deepfake_detect.errors import OptionError, VideoUnreadableError
from deepfake_detect.video import AllFrames, ByRate, EvenlySpaced, find_sequence, read_frames, read_sequence
from tests.media import numbered_image, read_number


def write_images(folder: Path, count: int) -> Path:
    """``0.png`` to ``<count - 1>.png``, without leading zeros, as WildDeepfake names them."""
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), numbered_image(number)[..., ::-1])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture(params=["folder", "tar", "tar.gz"])
def sequence_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = write_images(tmp_path / "12", 23)
    if request.param == "folder":
        return folder
    archive = tmp_path / f"0.{request.param}"
    with tarfile.open(archive, "w:gz" if request.param == "tar.gz" else "w") as members:
        members.add(folder, arcname="./0/fake/12")
        members.add(folder, arcname="./0/fake/13")
    return archive / "0" / "fake" / "12"


def test_frames_come_in_the_order_of_their_numbers(sequence_path: Path) -> None:
    sequence = find_sequence(sequence_path)
    assert sequence is not None
    frames = list(read_sequence(sequence, AllFrames()))
    assert [read_number(frame.image) for frame in frames] == list(range(23))
    assert [frame.frame_index for frame in frames] == list(range(23))
    assert all(math.isnan(frame.time_seconds) for frame in frames)


def test_a_sequence_is_sampled_like_a_clip(sequence_path: Path) -> None:
    sequence = find_sequence(sequence_path)
    assert sequence is not None
    frames = list(read_sequence(sequence, EvenlySpaced(3)))
    assert [(frame.frame_index, read_number(frame.image)) for frame in frames] == [(0, 0), (11, 11), (22, 22)]
    with pytest.raises(OptionError, match="the frame rate of .* is not known"):
        read_sequence(sequence, ByRate(2))


def test_files_are_no_sequences(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a", 2)
    assert find_sequence(folder / "0.png") is None
    assert find_sequence(tmp_path / "absent.mp4") is None
    (frame,) = read_frames(folder / "1.png")
    assert read_number(frame.image) == 1


def test_what_holds_no_readable_image_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(VideoUnreadableError, match="contains no image; pass a folder of frames"):
        find_sequence(tmp_path)
    folder = write_images(tmp_path / "a", 3)
    (folder / "1.png").write_bytes(b"torn")
    sequence = find_sequence(folder)
    assert sequence is not None
    with pytest.raises(VideoUnreadableError, match="1.png: is not a readable image"):
        list(read_sequence(sequence, AllFrames()))
    (tmp_path / "0.tar.gz").write_bytes(b"no archive")
    with pytest.raises(VideoUnreadableError, match="0.tar.gz: is damaged"):
        find_sequence(tmp_path / "0.tar.gz" / "0" / "fake" / "12")
