from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepfake_detect.errors import ImageError, OutputError, VideoNotFoundError
from deepfake_detect.images import rgb_uint8
from deepfake_detect.io.files import (
    atomic_path,
    file_lock,
    make_folder,
    read_json,
    sha256_of_file,
    write_json,
)


def test_a_result_is_whole_or_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.json"
    write_json(target, {"a": [1, None]})

    def stopped_halfway() -> None:
        with atomic_path(target) as temporary:
            assert temporary.suffix == ".json"
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped_halfway()
    assert read_json(target) == {"a": [1, None]}
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]
    assert stat.S_IMODE(target.stat().st_mode) & 0o444 == 0o444


def test_json_rejects_nan_and_infinity(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_paths_that_cannot_be_written_raise_typed_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file/below: cannot be written"):
        make_folder(tmp_path / "file" / "below")
    for path in ("", tmp_path):
        with pytest.raises(OutputError, match="is not a file name"):
            write_json(path, {})

    def full() -> None:
        with atomic_path(tmp_path / "a.txt"):
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="a.txt: cannot be written .No space left"):
        full()
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(OutputError, match="bad.json: is damaged"):
        read_json(tmp_path / "bad.json")


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    with (
        file_lock(tmp_path, what="extraction"),
        pytest.raises(OutputError, match="another extraction is writing there"),
        file_lock(tmp_path, what="extraction"),
    ):
        pass
    with file_lock(tmp_path, what="extraction"):
        pass


def test_hash_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_of_file(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_errors_survive_the_way_between_processes() -> None:
    error = VideoNotFoundError("a.mp4", "there is no such file", "check the path")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is VideoNotFoundError
    assert str(again) == str(error) == "a.mp4: there is no such file; check the path"


def test_images_of_every_type_become_one_type() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    kinds = [image, Image.fromarray(image), torch.from_numpy(image), image / 255, (image / 255).astype("f4")]
    for kind in kinds:
        np.testing.assert_array_equal(rgb_uint8(kind), image)
    assert rgb_uint8(Image.fromarray(image[..., 0])).shape == (4, 5, 3)  # PIL knows what gray means
    with pytest.raises(ImageError, match="half: is a bfloat16 tensor"):
        rgb_uint8(torch.zeros(4, 5, 3, dtype=torch.bfloat16), subject="half")


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="is a device, which a file would replace; choose a file"):
        atomic_path(pipe).__enter__()
    assert pipe.is_fifo()
