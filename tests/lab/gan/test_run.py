"""The command and its function, from the options to the files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest

from deepfake_detect.cli import main as any_main
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.lab.gan.config import FakeSetOptions, GanConfig
from deepfake_detect.lab.gan.figures import save_gan_figure
from deepfake_detect.lab.gan.generator import read_generator
from deepfake_detect.lab.gan.run import train_gan_run
from deepfake_detect.lab.gan.step import StepRecord
from tests.lab.gan.data import write_images
from tests.lab.gan.test_evaluate import classifier_run
from tests.lab.test_classifier import write_mnist

QUICK = ("--steps", "2", "--batch-size", "4", "--num-samples", "4", "--device", "cpu", "--latent-size", "5")


def main(arguments: Sequence[str]) -> int:
    return any_main(["lab", *arguments])


@pytest.mark.parametrize("arch", ["dense", "conv"])
def test_mnist_to_fake_set_and_report(arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = write_mnist(tmp_path / "raw", zipped=False), tmp_path / "out"
    classifier = classifier_run(tmp_path / "classifier", side=28)
    arguments = ["train-gan", "--data", "mnist", "--mnist-root", str(root), "--arch", arch, "--out", str(out)]
    arguments += [*QUICK, "--with-reals", "--classifier", str(classifier)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "MNIST: 256 training images; 64 test images are held out" in printed
    assert "in features of own classifier small_cnn, test accuracy 0.9700" in printed
    assert "samples are classified with a confidence of 0.9 or more" in printed
    fakes = read_manifest(out / "fakes")
    assert fakes.query("select label, count(*) n from rows group by label order by label").to_pydict() == {
        "label": [0, 1],
        "n": [4, 4],
    }
    report = json.loads((out / "report.json").read_text())
    assert report["networks"]["latent_size"] == 5
    assert report["compared_with"] == "held-out images"
    assert report["quality"]["num_samples"] == 4
    assert report["discriminator_accuracy"]["last_steps"] == 2
    assert read_generator(out / "generator.safetensors")[1].arch == arch
    for name in ("curves.png", "samples/step-0000002.png"):
        assert cv2.imread(str(out / name)) is not None
    for name in ("history.csv", "config.json", "samples.mp4"):
        assert (out / name).stat().st_size
    assert "step 2 of 2" in (out / "log.txt").read_text()
    assert main(arguments) == 0  # no step is left, and the results are written again
    assert "resumes after step 2" in capsys.readouterr().out


@pytest.mark.usefixtures("narrow_dcgan")
@pytest.mark.parametrize("norm", ["--spectral-norm", "--no-spectral-norm"])
def test_dcgan_on_a_folder(norm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_images(tmp_path / "faces", 5), tmp_path / "out"
    arguments = ["train-gan", "--data", str(folder), "--arch", "dcgan", "--loss", "hinge", "--out", str(out)]
    assert main([*arguments, *QUICK, "--steps", "1", norm]) == 0
    printed = capsys.readouterr().out
    assert "5 were smaller than 64 pixels and were enlarged" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["networks"]["spectral_norm"] == (norm == "--spectral-norm")
    assert report["feature_network"].startswith("none given")
    assert read_manifest(out / "fakes").num_rows == 4


def test_without_samples(tmp_path: Path) -> None:
    folder, out = write_images(tmp_path / "a", 4, gray=True), tmp_path / "out"
    arguments = ["train-gan", "--data", str(folder), "--arch", "dense", "--out", str(out), *QUICK]
    assert main([*arguments, "--num-samples", "0"]) == 0
    assert not (out / "fakes").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--data", "absent"],
            "error: absent: is not a folder; pass mnist, a folder of images or a manifest",
        ),
        (["--data", "one"], "error: one: contains one image; a GAN needs two or more"),
        (
            ["--data", "tiny", "--arch", "dcgan"],
            "pixels, too small to be enlarged to 64; remove it, or pass a smaller --image-size",
        ),
        (["--data", "some", "--num-samples", "1"], "error: --num-samples: is 1; must be 2 or more, or 0"),
        (
            ["--data", "some", "--num-samples", "0", "--classifier", "x"],
            "error: --classifier: needs samples to",
        ),
        (["--data", "some", "--classifier", "x"], "error: x: there is no classifier.safetensors"),
        (
            ["--data", "some", "--splits", "1", "1", "0"],
            "error: --splits: are 1 1 0; must be three fractions",
        ),
        (
            ["--data", "some", "--splits", "nan", "0.5", "0.5"],
            "error: --splits: are nan 0.5 0.5; must be three",
        ),
        (["--data", "some", "--out", "some/run"], "error: --out: is inside the images of some"),
        (["--data", "some", "--spectral-norm"], "error: --spectral-norm: is not for dense"),
        (
            ["--data", "some", "--arch", "dcgan", "--image-size", "96"],
            "--image-size: is 96; must be 64 or 128",
        ),
        (["--data", "some", "--out", "tiny/000.png"], "error: tiny/000.png: "),
    ],
)
def test_bad_input_is_one_line_and_code_two(
    more: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("one"), 1)
    write_images(Path("tiny"), 2, side=9)
    write_images(Path("some"), 2)
    assert main(["train-gan", "--arch", "dense", "--out", "out", *QUICK, *more]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not Path("out").exists()


def test_another_run_in_the_folder_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_images(tmp_path / "a", 4)
    arguments = [
        "train-gan",
        "--data",
        str(folder),
        "--arch",
        "dense",
        "--out",
        str(tmp_path / "out"),
        *QUICK,
    ]
    assert main(arguments) == 0
    assert main([*arguments, "--loss", "hinge", "--beta1", "0.9"]) == 2
    assert "contains a run with other values of beta1, loss; pass another --out" in capsys.readouterr().err


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train-gan", "--help-all"])
    text = capsys.readouterr().out
    assert "--data mnist|DIR" in text
    for flag in ("--arch", "--latent-size", "--loss", "--no-spectral-norm", "--classifier", "--save-every"):
        assert flag in text


def test_python_leaves_the_files_of_the_command(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a", 4, gray=True)
    arguments = ["train-gan", "--data", str(folder), "--arch", "dense", *QUICK, "--with-reals"]
    assert main([*arguments, "--out", str(tmp_path / "command")]) == 0
    config = GanConfig(arch="dense", steps=2, batch_size=4, device="cpu", latent_size=5)
    fakes = FakeSetOptions(num_samples=4, with_reals=True)
    train_gan_run(folder, tmp_path / "python", config, fakes=fakes, show_progress=False)
    one, other = (
        {path.relative_to(tmp_path / name): path for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("command", "python")
    )
    assert one.keys() == other.keys()
    for name, path in one.items():
        if name.suffix not in (".txt", ".pt", ".parquet"):  # these hold times
            assert path.read_bytes() == other[name].read_bytes(), name


@pytest.mark.parametrize("count", [1, 450])
def test_curves_are_drawn_for_any_number_of_steps(count: int, tmp_path: Path) -> None:
    history = [StepRecord(number, 0.7, 1.0, 0.8, 0.6) for number in range(1, count + 1)]
    save_gan_figure(history, tmp_path / "curves.png", title="a $5 GAN")
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image is not None
    assert image.std() > 5
