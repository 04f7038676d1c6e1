"""Train a GAN, and write its samples as a labeled fake set for detectors.

The same command again goes on with a run that was stopped, and more --epochs with one that was not.
Leaves generator.safetensors, history.csv, curves.png, samples/ and samples.mp4, fakes/ with its
manifest (fake is 1), report.json, config.json and log.txt in the folder.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from deepfake_detect.errors import OptionError
from deepfake_detect.lab.gan.config import DEFAULT_SHARES, MNIST_VARIABLE, GanConfig, GanPrecision
from deepfake_detect.lab.gan.spec import Arch, GanLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from deepfake_detect.lab.gan.evaluate import Judge
    from deepfake_detect.lab.gan.fakes import FakeSetOptions
    from deepfake_detect.lab.gan.loop import GanResult
    from deepfake_detect.lab.gan.pictures import GanPictures

_NUMBERS = (
    ("latent-size", int, "length of a latent vector"),
    ("image-size", int, "side of an image in pixels: 64 or 128 for dcgan (default 28; dcgan 64)"),
    ("epochs", int, "how often all pictures are seen"),
    ("steps", int, "steps in place of epochs"),
    ("batch-size", int, "pictures made a step, and real ones a step of the discriminator"),
    ("discriminator-steps", int, "to one of the generator, once warm"),
    ("learning-rate", float, "of the discriminator's Adam (default: conv 8e-4, else 2e-4)"),
    (
        "generator-learning-rate",
        float,
        "of the generator's (default: as the other; conv a quarter of it, with --batch-norm twice)",
    ),
    (
        "warmup-steps",
        int,
        "over which both rates grow from a quarter (default: conv without --batch-norm 1000, else 0)",
    ),
    ("beta1", float, "of both networks' Adam"),
    ("beta2", float, "of both networks' Adam"),
    ("average-decay", float, "of the moving average of weights that samples come from, 0 is off"),
    ("seed", int, "of weights, order, latent vectors and dropout"),
    ("sample-every", int, "steps between two grids of samples"),
    ("save-every", int, "steps between two writings of the run's state"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="mnist|DIR",
        help="mnist; a folder with its files; a folder of PNG and JPEG pictures; a manifest's real crops",
    )
    parser.add_argument(
        "--mnist-root",
        type=Path,
        help=f"folder with MNIST's files (default: the environment's {MNIST_VARIABLE})",
    )
    parser.add_argument("--where", metavar="EXPR", help="rows of a manifest (default: its split train)")
    parser.add_argument("--arch", choices=get_args(Arch), default="conv", help="networks (default conv)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--loss", choices=get_args(GanLoss), default="bce", help="(default bce)")
    parser.add_argument(
        "--spectral-norm",
        action=argparse.BooleanOptionalAction,
        help="normalize dcgan's discriminator by singular values, not batches (default: dcgan yes)",
    )
    parser.add_argument(
        "--batch-norm",
        action="store_true",
        help="conv: batch norm in the generator, and a deeper discriminator without dropout",
    )
    for name, kind, text in _NUMBERS:
        default: Any = GanConfig.__dataclass_fields__[name.replace("-", "_")].default
        told = "" if default is None else f" (default {default:g})"
        parser.add_argument(f"--{name}", type=kind, default=default, help=text + told)
    parser.add_argument("--precision", choices=get_args(GanPrecision), default="auto", help="(default auto)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument(
        "--num-samples", type=int, default=2000, help="size of the fake set, 0 for none (default 2000)"
    )
    parser.add_argument(
        "--splits",
        type=float,
        nargs=3,
        default=DEFAULT_SHARES,
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the fake set (default 0.8 0.1 0.1)",
    )
    parser.add_argument(
        "--with-reals", action="store_true", help="put as many real pictures into the fake set"
    )
    parser.add_argument(
        "--judge",
        type=Path,
        metavar="DIR|FILE",
        help="train-classifier run that names samples, or detector; FID and KID are in its features",
    )


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.lab.gan.fakes import FakeSetOptions
    from deepfake_detect.lab.gan.loop import train_gan
    from deepfake_detect.lab.gan.pictures import read_gan_pictures
    from deepfake_detect.training.run_folder import RunFolder

    options = {
        name: value for name, value in vars(arguments).items() if name in GanConfig.__dataclass_fields__
    }
    if options["spectral_norm"] is None:
        options["spectral_norm"] = arguments.arch == "dcgan"
    config = GanConfig(**options)
    # Whatever may be wrong with what comes after the training is found before it.
    if arguments.num_samples < 0 or arguments.num_samples == 1:
        raise OptionError("num_samples", f"is {arguments.num_samples}", "pass 2 or more, or 0 for none")
    set_options = FakeSetOptions(
        f"gan-{config.arch}", tuple(arguments.splits), arguments.with_reals, config.seed
    )
    judge = _read_judge(arguments, config)
    pictures = read_gan_pictures(
        arguments.data,
        image_size=config.side,
        rgb=config.arch == "dcgan",
        mnist_root=arguments.mnist_root,
        where=arguments.where,
        out=arguments.out,
    )
    journal = RunFolder(arguments.out, print)
    result = train_gan(pictures, config, arguments.out, log=print)
    _leave_results(arguments, result, pictures, judge, set_options, journal.log)
    return 0


def _read_judge(arguments: argparse.Namespace, config: GanConfig) -> Judge | None:
    if arguments.judge is None:
        return None
    from deepfake_detect.lab.gan.evaluate import read_judge

    if not arguments.num_samples:
        raise OptionError(
            "judge", "has nothing to judge without samples", "pass --num-samples, or no --judge"
        )
    return read_judge(arguments.judge, image_size=config.side)


def _leave_results(
    arguments: argparse.Namespace,
    result: GanResult,
    pictures: GanPictures,
    judge: Judge | None,
    set_options: FakeSetOptions,
    say: Callable[[str], None],
) -> None:
    """Draw the curves, write the fake set, and measure it."""
    from deepfake_detect.io.files import write_json
    from deepfake_detect.lab.gan.fakes import write_fake_set
    from deepfake_detect.lab.gan.figures import save_gan_figure
    from deepfake_detect.lab.gan.loop import COLLAPSE_STEPS, sample_images

    out: Path = arguments.out
    title = f"{result.spec.arch} GAN on {pictures.dataset}"
    save_gan_figure(result.history, out / "curves.png", title=title)
    on_real, on_fake = result.last_accuracy()
    report: dict[str, Any] = {
        "networks": asdict(result.spec),
        "steps": len(result.history),
        "discriminator_accuracy": {
            "last_steps": min(COLLAPSE_STEPS, len(result.history)),
            "on_real": on_real,
            "on_fake": on_fake,
            "mean": (on_real + on_fake) / 2,
        },
        "feature_network": "none given: no FID and KID (pass --judge)",
    }
    say(f"discriminator right on real {on_real:.1%}, on fake {on_fake:.1%} over the last steps")
    if arguments.num_samples:
        samples = sample_images(result.generator, result.spec, arguments.num_samples, seed=arguments.seed)
        fakes = write_fake_set(out / "fakes", samples, pictures, set_options)
        say(f"wrote {fakes.path} ({fakes.num_rows:,} rows; label 1 = fake)")
        if judge is not None:
            report |= _judged(judge, samples, pictures, arguments, say)
    write_json(out / "report.json", report)


def _judged(
    judge: Judge,
    samples: np.ndarray,
    pictures: GanPictures,
    arguments: argparse.Namespace,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return what a judge says of the samples, and say it."""
    from deepfake_detect.device import choose_device
    from deepfake_detect.lab.gan.evaluate import SURE, measure_generator

    held_out = pictures.held_out
    reals = held_out if len(held_out) else pictures.images
    quality = measure_generator(
        judge, samples, reals, device=choose_device(arguments.device), seed=arguments.seed
    )
    beside = "held-out pictures" if len(held_out) else "pictures it learned from"
    floor = (
        ""
        if quality.frechet_of_reals is None
        else f" (of reals among themselves {quality.frechet_of_reals:.2f})"
    )
    say(
        f"FID {quality.frechet:.2f}{floor}, KID {quality.kernel.mean:.4f}, beside {beside}, "
        f"in features of {judge.name}"
    )
    if quality.share_sure is not None:
        named = ", ".join(f"{name}: {count}" for name, count in quality.sure_by_class.items())
        say(
            f"{quality.share_sure:.1%} of {quality.num_samples:,} samples are named with a confidence of "
            f"{SURE} or more (of reals {quality.share_sure_of_reals:.1%}); {named}"
        )
    if missing := quality.classes_missing:
        say(f"warning: no sample is surely named {', '.join(missing)}: variety may be lacking")
    return {"feature_network": judge.name, "compared_with": beside, "quality": quality.to_dict()}
