from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from deepfake_detect.data.manifest import read_manifest, write_manifest
from deepfake_detect.errors import DatasetLayoutError, ManifestError, OptionError
from deepfake_detect.lab.gan import images as images_module
from deepfake_detect.lab.gan.config import MNIST_VARIABLE
from deepfake_detect.lab.gan.images import read_gan_images
from deepfake_detect.records import CropGeometry
from tests.data.trees import crop_manifest, textured_crops
from tests.lab.gan.data import write_images
from tests.lab.test_classifier import bars, write_mnist


def test_mnist_is_found_by_option_environment_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_mnist(tmp_path / "mnist" / "raw", zipped=True).parent
    monkeypatch.setenv(MNIST_VARIABLE, str(root))
    by_variable = read_gan_images("mnist", image_size=28)
    monkeypatch.delenv(MNIST_VARIABLE)
    by_option = read_gan_images("mnist", image_size=28, mnist_root=root)
    by_folder = read_gan_images(root, image_size=28)
    for found in (by_variable, by_option, by_folder):
        np.testing.assert_array_equal(found.images[..., 0], bars(256, 0)[0])
        np.testing.assert_array_equal(found.held_out[..., 0], bars(64, 1)[0])
        assert found.dataset == "MNIST"
        assert found.notes == ("MNIST: 256 training images; 64 test images are held out",)
    assert by_folder.sha256() == by_option.sha256()


def test_mnist_for_color_networks(tmp_path: Path) -> None:
    root = write_mnist(tmp_path / "raw", zipped=False)
    found = read_gan_images(root, image_size=64, rgb=True)
    assert found.images.shape == (256, 64, 64, 3)
    assert (found.images[..., :1] == found.images).all()
    assert found.notes[1] == "they were resized from 28 to 64 pixels"


def test_missing_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MNIST_VARIABLE, raising=False)
    with pytest.raises(
        OptionError,
        match=f"mnist_root: is not given, and the environment variable {MNIST_VARIABLE} is not set; pass the",
    ):
        read_gan_images("mnist", image_size=28)
    with pytest.raises(DatasetLayoutError, match="contains no idx files of MNIST"):
        read_gan_images("mnist", image_size=28, mnist_root=tmp_path)
    with pytest.raises(DatasetLayoutError, match="contains no idx files of MNIST"):
        read_gan_images("mnist", image_size=28, mnist_root=tmp_path / "absent")


def test_a_folder_is_read_with_its_subfolders(tmp_path: Path) -> None:
    write_images(tmp_path / "all", 3)
    write_images(tmp_path / "all" / "more", 2, side=20, seed=1)
    (tmp_path / "all" / "notes.txt").write_text("no image")
    found = read_gan_images(tmp_path / "all", image_size=32)
    assert found.images.shape == (5, 32, 32, 3)
    assert len(found.held_out) == 0
    assert found.dataset == "all"
    assert found.people == (None,) * 5
    assert found.notes[0].endswith("all: 5 images, RGB")
    assert found.notes[1] == "2 were smaller than 32 pixels and were enlarged"


def test_a_wide_image_is_cropped_to_its_center(tmp_path: Path) -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 255
    for name in ("a.JPG", "b.png"):
        (tmp_path / name).write_bytes(cv2.imencode(Path(name).suffix.lower(), image)[1].tobytes())
    assert (read_gan_images(tmp_path, image_size=20).images > 250).all()


def test_gray_images_keep_one_channel_unless_the_network_needs_rgb(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "gray", 3, gray=True)
    assert read_gan_images(folder, image_size=16).images.shape == (3, 16, 16, 1)
    as_rgb = read_gan_images(folder, image_size=16, rgb=True)
    assert as_rgb.images.shape == (3, 16, 16, 3)
    assert as_rgb.notes[1] == "all of them are gray: their three channels are equal"
    write_images(folder / "one", 1)
    assert read_gan_images(folder, image_size=16).images.shape == (4, 16, 16, 3)


def test_unusable_folders_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetLayoutError, match="absent: is not a folder; pass mnist, a folder of images"):
        read_gan_images(tmp_path / "absent", image_size=28)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetLayoutError, match="empty: contains no PNG or JPEG image; a GAN needs two"):
        read_gan_images(tmp_path / "empty", image_size=28)
    with pytest.raises(DatasetLayoutError, match="one: contains one image; a GAN needs two"):
        read_gan_images(write_images(tmp_path / "one", 1), image_size=28)
    tiny = write_images(tmp_path / "tiny", 2, side=15)
    with pytest.raises(
        DatasetLayoutError, match=r"000.png: is 15 x 15 pixels, too small to be enlarged to 64"
    ):
        read_gan_images(tiny, image_size=64)
    for content in (b"", b"no image"):
        (tiny / "001.png").write_bytes(content)
        with pytest.raises(DatasetLayoutError, match=r"001.png: cannot be read as an image"):
            read_gan_images(tiny, image_size=16)
    with pytest.raises(OptionError, match="where: .* is not a manifest; omit it"):
        read_gan_images(tiny, image_size=16, where="label = 0")
    monkeypatch.setattr(images_module, "_MAX_BYTES", 1000)
    with pytest.raises(OptionError, match="2 images of 16 pixels need 0 GiB of memory; choose fewer"):
        read_gan_images(tiny, image_size=16)


def test_real_crops_of_a_manifest_are_read(tmp_path: Path) -> None:
    crops = textured_crops(6, "train", seed=1) + textured_crops(4, "val", seed=2)
    manifest = read_manifest(crop_manifest(tmp_path / "data", crops, geometry=CropGeometry(1.1)))
    reals = manifest.where("label = 0 and split = 'train'")
    for given in (manifest.path, manifest.root):
        found = read_gan_images(given, image_size=64)
        assert found.images.shape == (reals.num_rows, 64, 64, 3)
        assert found.geometry == CropGeometry(1.1)
        assert found.dataset == reals.columns(["dataset"])["dataset"][0].as_py()
        assert None not in found.people
    chosen = read_gan_images(manifest.path, image_size=64, where="split = 'val'")
    assert len(chosen.images) == manifest.where("label = 0 and split = 'val'").num_rows
    assert "split = 'val'" in chosen.notes[0]
    with pytest.raises(ManifestError, match="0 of its rows are real crops to train on; pass another `where`"):
        read_gan_images(manifest.path, image_size=64, where="label = 1")


def test_all_reals_of_a_manifest_without_splits_are_used(tmp_path: Path) -> None:
    path = crop_manifest(tmp_path, textured_crops(6, "train", seed=1), geometry=CropGeometry())
    table = read_manifest(path).table
    for name in ("split", "target_id"):
        column = table.column_names.index(name)
        table = table.set_column(column, name, pa.nulls(len(table), pa.string()))
    write_manifest(path, table, geometry=CropGeometry())
    found = read_gan_images(path, image_size=64)
    reals = read_manifest(path).where("label = 0")
    assert len(found.images) == reals.num_rows
    assert list(found.people) == reals.columns(["video_id"])["video_id"].to_pylist()


def test_samples_are_not_written_among_the_images(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "faces", 2)
    for out in (folder, folder / "run" / "1", tmp_path / "faces" / ".." / "faces" / "run"):
        with pytest.raises(OptionError, match="out: is inside the images of .*: samples would be read as"):
            read_gan_images(folder, image_size=16, out=out)
    assert len(read_gan_images(folder, image_size=16, out=tmp_path / "faces2").images) == 2
    root = write_mnist(tmp_path / "raw", zipped=False)  # only its files are read
    assert read_gan_images(root, image_size=28, out=root / "run").dataset == "MNIST"
