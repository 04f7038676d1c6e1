from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deepfake_detect.cli import main
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.io.files import file_lock
from deepfake_detect.lab.classifier import measure_classifier, train_classifier
from deepfake_detect.lab.labeled_images import LabeledImages, read_labeled
from deepfake_detect.lab.options import ClassifierConfig
from deepfake_detect.models.classifier import create_model


def idx(values: np.ndarray) -> bytes:
    shape = b"".join(length.to_bytes(4, "big") for length in values.shape)
    return bytes((0, 0, 8, values.ndim)) + shape + values.tobytes()


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of 28 x 28 with a vertical or horizontal bar at a random position."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.uint8)
    images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row = rng.integers(2, 24)
        (image.T if label else image)[row : row + 3] = 255
    return images, labels


def write_mnist(folder: Path, *, zipped: bool) -> Path:
    folder.mkdir(parents=True)
    for stem, count, seed in (("train", 256, 0), ("t10k", 64, 1)):
        for kind, values in zip(("images-idx3", "labels-idx1"), bars(count, seed), strict=True):
            data = idx(values)
            name = f"{stem}-{kind}-ubyte" + (".gz" if zipped else "")
            (folder / name).write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_files_are_read(tmp_path: Path, zipped: bool) -> None:
    write_mnist(tmp_path / "MNIST" / "raw", zipped=zipped)
    images = read_labeled(tmp_path)
    wanted, labels = bars(256, 0)
    np.testing.assert_array_equal(images.train_images[..., 0], wanted)
    np.testing.assert_array_equal(images.train_labels, labels)
    assert images.test_images.shape == (64, 28, 28, 1)
    assert len(images.class_names) == 10


def solid(color: tuple[int, int, int], size: int = 8) -> bytes:
    return bytes(cv2.imencode(".png", np.full((size, size, 3), color[::-1], np.uint8))[1])


def test_folders_and_tars_of_classes_are_read(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name, color in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
            (tmp_path / "folders" / part / name).mkdir(parents=True)
            (tmp_path / "folders" / part / name / "0.png").write_bytes(solid(color))
        (tmp_path / "tars").mkdir(exist_ok=True)
        with tarfile.open(tmp_path / "tars" / f"some_{part}.tar", "w") as tar:
            for path in sorted((tmp_path / "folders" / part).rglob("*.png")):
                member = tarfile.TarInfo(f"{part}/{path.parent.name}/{path.name}")
                member.size = path.stat().st_size
                tar.addfile(member, io.BytesIO(path.read_bytes()))
    for kind in ("folders", "tars"):
        images = read_labeled(tmp_path / kind)
        assert images.class_names == ("blue", "red")
        colors = {
            images.class_names[k]: image[0, 0].tolist()
            for k, image in zip(images.test_labels, images.test_images, strict=True)
        }
        assert colors == {"red": [255, 0, 0], "blue": [0, 0, 255]}


def test_damaged_or_missing_sets_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="is not a folder"):
        read_labeled(tmp_path / "absent")
    with pytest.raises(DatasetLayoutError, match="neither a folder nor a tar for 'train'"):
        read_labeled(tmp_path)
    raw = write_mnist(tmp_path / "mnist", zipped=True)
    whole = (raw / "train-images-idx3-ubyte.gz").read_bytes()
    (raw / "train-images-idx3-ubyte.gz").write_bytes(whole[:-50])
    with pytest.raises(DatasetLayoutError, match="train-images-idx3-ubyte.gz: cannot be read"):
        read_labeled(raw)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    with pytest.raises(DatasetLayoutError, match="is not a complete idx file"):
        read_labeled(raw)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(bars(255, 0)[0])))
    with pytest.raises(DatasetLayoutError, match="contains 255 train images and 256 labels"):
        read_labeled(raw)
    folder = tmp_path / "folders"
    for part in ("train", "test"):
        (folder / part / "a").mkdir(parents=True)
    with pytest.raises(DatasetLayoutError, match="contains no images"):
        read_labeled(folder)
    (folder / "train" / "a" / "0.png").write_bytes(solid((0, 0, 0)))
    (folder / "test" / "a" / "0.png").write_bytes(b"none")
    with pytest.raises(DatasetLayoutError, match="0.png: cannot be read as an image"):
        read_labeled(folder)
    (folder / "test" / "a" / "0.png").write_bytes(solid((0, 0, 0)))
    (folder / "test" / "a" / "1.png").write_bytes(solid((0, 0, 0), size=9))
    with pytest.raises(DatasetLayoutError, match="1.png: has another size"):
        read_labeled(folder)
    (folder / "test" / "a").rename(folder / "test" / "b")
    (folder / "test" / "b" / "1.png").unlink()
    with pytest.raises(DatasetLayoutError, match="has no training images of b"):
        read_labeled(folder)


def labeled() -> LabeledImages:
    train, test = bars(256, 0), bars(64, 1)
    return LabeledImages(
        train[0][..., None],
        train[1].astype(np.int64),
        test[0][..., None],
        test[1].astype(np.int64),
        ("-", "|"),
    )


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("small_cnn", num_classes=2, in_chans=1, image_size=28)


def test_training_learns_and_is_repeatable_bit_for_bit() -> None:
    ends, seen = [], []
    for _ in range(2):
        model = small_network()
        history = train_classifier(
            model,
            labeled(),
            ClassifierConfig(epochs=3, batch_size=32, device="cpu"),
            after_epoch=lambda epoch, _: seen.append(epoch),
            show_progress=False,
        )
        ends.append(model.state_dict())
    assert seen == [0, 1, 2, 3] * 2
    assert history[-1].test_accuracy > 0.9
    assert history[-1].train_loss < history[0].train_loss
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_accuracy_agrees_with_a_count() -> None:
    images, labels = bars(50, 4)
    model = small_network().eval()
    tensors = torch.from_numpy(images[:, None])
    with torch.no_grad():
        right = [
            int(model(one[None].float() / 255).argmax()) == k for one, k in zip(tensors, labels, strict=True)
        ]
    _, accuracy = measure_classifier(model, tensors, torch.from_numpy(labels.astype(np.int64)))
    assert accuracy == pytest.approx(np.mean(right))


def test_shifted_images_keep_their_values() -> None:
    from deepfake_detect.lab.classifier import _flipped_and_shifted

    images = torch.arange(20.0).expand(64, 1, 20, 20).contiguous()  # columns rise
    moved = _flipped_and_shifted(images, np.random.default_rng(0))
    assert moved.shape == images.shape
    starts = {round(float(one[0, 0, 10])) for one in moved}
    assert len(starts) > 5
    assert any(float(one[0, 0, 5]) > float(one[0, 0, 15]) for one in moved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: is 0; must be 1 or more"),
        ({"optimizer": "lbfgs"}, "optimizer: is 'lbfgs'; must be one of .*adadelta"),
        ({"learning_rate": 0.0}, "learning_rate: is 0.0; must be above 0"),
    ],
)
def test_bad_options(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ClassifierConfig(**changes)  # type: ignore[arg-type]


def test_the_command_trains_on_mnist_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mnist(tmp_path / "data", zipped=True)
    out = tmp_path / "run"
    options = ["--epochs", "1", "--device", "cpu", "--batch-size", "64"]
    command = ["lab", "train-classifier", "--data", str(tmp_path / "data"), "--out", str(out), *options]
    assert main(command) == 0
    assert "small_cnn: 263,418 parameters; 256 training images" in capsys.readouterr().out
    facts = json.loads((out / "run.json").read_text())
    assert facts["num_parameters"] == 263_418
    assert len(facts["history"]) == 1
    assert (out / "classifier.safetensors").stat().st_size > 1_000_000
    assert "256 training images" in (out / "log.txt").read_text()
    with file_lock(out, what="training"):
        assert main(command) == 2
    assert "another training is writing there" in capsys.readouterr().err


def test_images_that_are_not_square_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        image = cv2.imencode(".png", np.zeros((28, 20, 3), np.uint8))[1]
        (tmp_path / part / "a" / "0.png").write_bytes(bytes(image))
    assert main(["lab", "train-classifier", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "has images of 20 x 28; make them square" in capsys.readouterr().err
