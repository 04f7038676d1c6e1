"""In which codec and container crops are kept: the manifest is the same either way."""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepfake_detect.cli import main
from deepfake_detect.data.crops import CropDataset, read_crop
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.extraction import ExtractionConfig
from deepfake_detect.records import CropGeometry, Preprocessing
from tests.extraction.conftest import Extracted
from tests.extraction.helpers import CONFIG, contents, extract

PREP = Preprocessing(image_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


def images(manifest: Manifest) -> list[np.ndarray]:
    return [read_crop(manifest.root / path) for path in manifest.column("path")]


def test_shards_hold_what_files_hold(whole: Extracted, whole_shards: Extracted) -> None:
    files, shards = read_manifest(whole.out), read_manifest(whole_shards.out)
    assert whole_shards.report.num_crops == shards.num_rows == 16
    assert shards.table.drop_columns("path").equals(files.table.drop_columns("path"))
    for one, other in zip(images(files), images(shards), strict=True):
        np.testing.assert_array_equal(one, other)
    dataset = CropDataset(shards, PREP, geometry=CropGeometry())
    assert all(dataset[row].image is not None for row in range(16))
    assert not list((whole_shards.out / "crops").rglob("*.png"))
    expected = re.sub(r"/(\d+_\d+\.png)", r".tar/\1", str(files.column("path")[0]))
    assert shards.column("path")[0] == expected
    failures = [(one.out / "failures.csv").read_text() for one in (whole, whole_shards)]
    assert failures[0] == failures[1]


def test_a_shard_is_a_sequence_of_webdataset_samples(whole_shards: Extracted) -> None:
    shard = whole_shards.out / "crops" / "FaceForensics++" / "Deepfakes" / "c23" / "000_003.tar"
    with tarfile.open(shard) as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        keys = [name.split(".")[0] for name in names]  # as WebDataset groups files to samples
        assert names[:3] == ["000000_00.png", "000000_00.json", "000008_00.png"]
        assert keys[::2] == keys[1::2]
        assert len(set(keys)) == 4
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in members} == {(0, 0, "", 0o644)}
        about = json.load(archive.extractfile("000008_00.json"))  # type: ignore[arg-type]
    assert about == {"label": 1, "video_id": "FaceForensics++/Deepfakes/c23/000_003", "frame_index": 8}


def test_broken_shards_are_made_anew(whole_shards: Extracted, tmp_path: Path) -> None:
    resumed = whole_shards.copy(tmp_path / "resumed")
    first, second, third, _ = sorted((resumed / "crops").rglob("*.tar"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:1024])
    third.write_bytes(b"no tar")
    leftover = third.with_name(f".{third.stem}.partial")
    leftover.mkdir()
    (leftover / "000000_07.png").write_bytes(b"of a run that was killed")
    again = extract(whole_shards.tree, resumed, replace(CONFIG, store="shards"))
    assert again.num_done_before == 2
    assert contents(resumed) == contents(whole_shards.out)


def test_what_a_killed_run_left_of_a_video_is_not_taken_in(whole: Extracted, tmp_path: Path) -> None:
    for name in ("000_003", "of_a_video_that_is_no_longer_listed"):
        partial = tmp_path / "out" / "crops" / "FaceForensics++" / "Face2Face" / "c23" / f".{name}.partial"
        partial.mkdir(parents=True)
        (partial / "000000_07.png").write_bytes(b"of a run that was killed")
    extract(whole.tree, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(whole.out)
    assert not list(tmp_path.rglob("*.partial"))


def test_jpeg_keeps_quality_and_color(whole: Extracted, tmp_path: Path) -> None:
    lossless = read_manifest(whole.out)
    errors = {}
    for codec in ("jpeg-95", "jpeg-60"):
        config = replace(CONFIG, image_format="jpeg", quality=int(codec[-2:]))
        assert config.codec == codec
        extract(whole.tree, tmp_path / codec, config)
        manifest = read_manifest(tmp_path / codec)
        assert manifest.codec == codec
        assert all(path.endswith(".jpg") for path in manifest.column("path"))
        pairs = zip(images(lossless), images(manifest), strict=True)
        errors[codec] = np.mean([cv2.absdiff(one, other).mean() for one, other in pairs])
        data = (manifest.root / manifest.column("path")[0]).read_bytes()
        frame = data.index(b"\xff\xc0")  # start of frame: then length, depth, sides, components
        assert data[frame + 9] == 3
        assert [data[frame + offset] for offset in (11, 14, 17)] == [0x11] * 3  # none is subsampled
    assert 0 < errors["jpeg-95"] < 2 < errors["jpeg-60"]
    assert lossless.codec == "png"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_format": "webp"}, "image_format: is 'webp'; must be one of png, jpeg"),
        ({"image_format": "jpeg", "quality": 0}, "quality: is 0; must be 1 to 100"),
        ({"image_format": "jpeg", "quality": 101}, "quality: is 101; must be 1 to 100"),
        ({"quality": 95}, "quality: is for JPEG, and PNG is lossless; set `image_format` to jpeg"),
        ({"person": "main"}, "person: is 'main'; must be one of auto, largest, mask, all"),
        ({"store": "tar"}, "store: is 'tar'; must be one of files, shards"),
        ({"person": "all", "already_cropped": True}, "person: does not apply to crops made by the"),
        ({"num_frames": 0}, "num_frames: is 0; must be 1 or more"),
        ({"margin": 9.0}, "margin: is 9.0; must be 0.5 to 4"),
        ({"min_face": 3.0}, "min_face: is 3.0; must be 12 or more"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ExtractionConfig(**options)


def test_format_quality_and_store_of_the_tool(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["extract-faces", str(tree), "--methods", "Face2Face", "--frames", "1", "--workers", "1"]
    out = tmp_path / "out"
    arguments = [*common, "--format", "jpeg", "--store", "shards", "--out", str(out)]
    assert main(arguments) == 0
    manifest = read_manifest(out)
    assert manifest.codec == "jpeg-95"
    assert all(".tar/" in path for path in manifest.column("path"))
    assert main([*arguments, "--quality", "80"]) == 2
    assert "contains crops made with codec jpeg-95 (now jpeg-80)" in capsys.readouterr().err
    assert main([*common, "--quality", "80", "--out", str(tmp_path / "x")]) == 2
    assert "--quality: is for JPEG" in capsys.readouterr().err
    assert main([*common, "--format", "jpeg", "--quality", "0", "--out", str(tmp_path / "x")]) == 2
    assert "--quality: is 0; must be 1 to 100" in capsys.readouterr().err
