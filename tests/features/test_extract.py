from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.errors import CheckpointError, ManifestError, OptionError
from deepfake_detect.features.extract import ExtractedFeatures, add_features, image_features
from deepfake_detect.features.extractor import (
    FeatureExtractor,
    FeatureSource,
    build_extractor,
    rebuild_extractor,
)
from deepfake_detect.features.feature_file import FeatureFile
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import create_model
from tests.features.data import VIDEOS, extractor_of, write_crops


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(write_crops(tmp_path))


def extract(manifest: Manifest, detector: Path, out: Path, **options: object) -> ExtractedFeatures:
    return add_features(
        manifest, extractor_of(detector), out, num_workers=0, show_progress=False, **options  # type: ignore[arg-type]
    )  # fmt: skip


def test_features_are_those_of_the_network_with_all_that_belongs_to_them(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "features.h5"
    done = extract(manifest, small_detector, out, batch_size=5)
    assert (done.num_new, done.num_known, done.unreadable) == (24, 0, ())
    file = FeatureFile(out)
    model, config = read_detector(small_detector)
    table = file.read()
    assert sorted(
        zip(table.video_ids, table.splits, table.labels, table.frame_indices, strict=True)
    ) == sorted(VIDEOS)
    for row in (0, 11, 23):
        assert table.identities[row] == f"x:p{table.video_ids[row]}"
        assert table.methods[row] == ("Deepfakes" if table.labels[row] else "original")
        crop = read_crop(file.root / table.paths[row])
        with torch.inference_mode():
            expected = model.features(crop_to_tensor(crop, config.model.preprocessing)[None])[0].numpy()
        np.testing.assert_allclose(table.features[row], expected, atol=1e-5)
    assert file.info.preprocessing == config.model.preprocessing
    assert file.info.card["detector_config"]["name"] == "small"
    assert file.manifests[0]["path"] == str(manifest.path)
    assert not (tmp_path / "out" / "features.h5.parts").exists()


def test_a_grown_manifest_adds_its_new_rows_alone(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features.h5"
    extract(manifest.where("split = 'train'"), small_detector, out)
    before = FeatureFile(out).read("train")
    grown = read_manifest(write_crops(tmp_path, [*VIDEOS, ("new", None, 1, 0)]))
    done = extract(grown, small_detector, out)
    assert (done.num_new, done.num_known) == (13, 12)
    file = FeatureFile(out)
    np.testing.assert_array_equal(file.read("train").features, before.features)
    assert file.read("unsplit").video_ids.tolist() == ["new"]
    assert len(file.manifests) == 2
    stamp = out.stat().st_mtime_ns
    assert extract(grown, small_detector, out).num_new == 0
    assert out.stat().st_mtime_ns == stamp


def test_rows_that_moved_to_another_split_are_refused(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features.h5"
    extract(manifest, small_detector, out)
    moved = [(video, "val", label, frame) for video, _, label, frame in VIDEOS]
    with pytest.raises(ManifestError, match="12 crops, for example of train0, had another split"):
        extract(read_manifest(write_crops(tmp_path, moved)), small_detector, out)


def test_another_network_layer_or_number_is_refused(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features.h5"
    extract(manifest, small_detector, out)
    other = extractor_of(small_detector, layer="layer2")
    with pytest.raises(OptionError, match="contains features with source .*choose another file"):
        add_features(manifest, other, out, num_workers=0, show_progress=False)
    with pytest.raises(OptionError, match="batch_size: is 0; must be 1 or more"):
        extract(manifest, small_detector, out, batch_size=0)
    with pytest.raises(OptionError, match="rows_per_part: is 0"):
        extract(manifest, small_detector, out, rows_per_part=0)
    with pytest.raises(OptionError, match="num_workers: is -1; must be 0 or more"):
        add_features(manifest, other, out, num_workers=-1, show_progress=False)
    with pytest.raises(ManifestError, match="has no rows to extract; choose other rows"):
        extract(manifest.where("label = 7"), small_detector, tmp_path / "none.h5")
    assert not (tmp_path / "none.h5").exists()


def test_crops_that_cannot_be_read_are_named_and_tried_again(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    out, bad = tmp_path / "features.h5", tmp_path / "val1-9.png"
    whole = bad.read_bytes()
    bad.write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped 1 crop that cannot be read: .*val1-9.png"):
        done = extract(manifest, small_detector, out)
    assert (done.num_new, done.unreadable) == (23, ("val1-9.png",))
    bad.write_bytes(whole)
    assert extract(manifest, small_detector, out).num_new == 1
    for crop in tmp_path.glob("*.png"):
        crop.write_bytes(b"")
    with pytest.raises(ManifestError, match="none of its crops can be read"):
        extract(manifest, small_detector, tmp_path / "none.h5")


_KILLED = """
import sys, time
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.features import extract
from deepfake_detect.features.extractor import FeatureSource, build_extractor
in_parts = extract._in_parts
def slowly(tables, num_rows):
    for number, table in enumerate(in_parts(tables, num_rows)):
        if number == int(sys.argv[4]):
            print("waiting", flush=True)
            time.sleep(600)
        yield table
extract._in_parts = slowly
extractor = build_extractor(FeatureSource(detector=sys.argv[2]))
extract.add_features(read_manifest(sys.argv[1]), extractor, sys.argv[3], batch_size=4, rows_per_part=4,
                         num_workers=0, show_progress=False)
"""


def kill_after(num_parts: int, manifest: Manifest, detector: Path, out: Path) -> None:
    command = [sys.executable, "-c", _KILLED, manifest.path, detector, out, num_parts]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        os.kill(child.pid, signal.SIGKILL)


def test_a_killed_run_goes_on_where_it_was(manifest: Manifest, small_detector: Path, tmp_path: Path) -> None:
    out, straight = tmp_path / "features.h5", tmp_path / "straight.h5"
    kill_after(3, manifest, small_detector, out)
    assert not out.exists()
    parts = sorted((tmp_path / "features.h5.parts").glob("part-*.h5"))
    assert len(parts) == 3
    # A machine that lost its power may leave a part without its end.
    parts[1].write_bytes(parts[1].read_bytes()[:-200])
    with pytest.warns(UserWarning, match="part-000002.h5 of an earlier run is extracted again"):
        done = extract(manifest, small_detector, out)
    assert (done.num_new, done.num_known) == (16, 8)
    extract(manifest, small_detector, straight)
    found, expected = FeatureFile(out).read(), FeatureFile(straight).read()
    order, wanted = (np.lexsort((t.frame_indices, t.video_ids.astype(str))) for t in (found, expected))
    np.testing.assert_array_equal(found.video_ids[order], expected.video_ids[wanted])
    np.testing.assert_allclose(found.features[order], expected.features[wanted], atol=1e-5)


def test_parts_that_are_in_the_file_already_are_not_taken_twice(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features.h5"
    extract(manifest, small_detector, out)
    parts = tmp_path / "features.h5.parts"
    parts.mkdir()
    (parts / "part-000001.h5").write_bytes(out.read_bytes())  # killed between merge and tidying up
    assert extract(manifest, small_detector, out).num_new == 0
    assert FeatureFile(out).num_rows == 24


def test_a_damaged_file_is_refused_and_stays(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features.h5"
    extract(manifest, small_detector, out)
    cut = out.read_bytes()[:-500]
    out.write_bytes(cut)
    with pytest.raises(ManifestError, match="is truncated or damaged"):
        extract(manifest, small_detector, out)
    assert out.read_bytes() == cut


@pytest.mark.parametrize(("layer", "width"), [("layer1", 32), ("layer4", 96)])
def test_any_layer_pooled_or_as_maps(layer: str, width: int) -> None:
    model = create_model("test_resnet", image_size=64)
    images = torch.randn(2, 3, 64, 64)
    maps = FeatureExtractor(model, layer=layer, is_spatial=True)
    pooled = FeatureExtractor(model, layer=layer)
    assert maps.feature_shape[0] == pooled.feature_shape[0] == width
    with torch.inference_mode():
        torch.testing.assert_close(pooled(images), maps(images).mean((2, 3)))
        # The last layer's mean is what the encoder gives.
        whole = FeatureExtractor(model, is_spatial=True)
        torch.testing.assert_close(whole(images).mean((2, 3)), model.encoder(images))


def test_tokens_of_a_transformer_are_pooled_over_patches() -> None:
    extractor = FeatureExtractor(create_model("test_vit"), layer="blocks.0")
    assert extractor.feature_shape == (64,)


def test_sources_that_cannot_be(small_detector: Path) -> None:
    with pytest.raises(OptionError, match="backbone: and `detector` cannot be combined"):
        FeatureSource()
    with pytest.raises(OptionError, match="weights: cannot be used with `detector`"):
        FeatureSource(detector="x", weights="y")
    with pytest.raises(OptionError, match=r"has none named 'layer9'; must be one of .*layer4"):
        extractor_of(small_detector, layer="layer9")


def test_a_network_without_weights_is_the_same_each_time() -> None:
    with pytest.warns(UserWarning, match="test_resnet has random weights"):
        first = build_extractor(FeatureSource(backbone="test_resnet"))
    with pytest.warns(UserWarning, match="random weights"):
        again = rebuild_extractor(first.source_facts)
    assert first.weights_sha256 == again.weights_sha256


def test_weights_that_changed_are_noticed(small_detector: Path) -> None:
    facts = {**extractor_of(small_detector).source_facts, "weights_sha256": "0"}
    with pytest.raises(CheckpointError, match="contains other weights than those of the features"):
        rebuild_extractor(facts)


def test_a_picture_has_the_features_of_its_row(
    manifest: Manifest, small_detector: Path, tmp_path: Path
) -> None:
    extract(manifest, small_detector, tmp_path / "features.h5")
    table = FeatureFile(tmp_path / "features.h5").read("val")
    picture = image_features(extractor_of(small_detector), [tmp_path / table.paths[3]])
    np.testing.assert_allclose(picture[0], table.features[3], atol=1e-5)
