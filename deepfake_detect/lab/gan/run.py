"""A GAN from its images to its fake set and report."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect.device import choose_device
from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import write_json
from deepfake_detect.lab.gan.config import FakeSetOptions, GanConfig
from deepfake_detect.lab.gan.evaluate import CONFIDENT, measure_generator, read_reference
from deepfake_detect.lab.gan.fakes import write_fake_set
from deepfake_detect.lab.gan.figures import save_gan_figure
from deepfake_detect.lab.gan.generator import sample_images
from deepfake_detect.lab.gan.images import GanImages, read_gan_images
from deepfake_detect.lab.gan.loop import COLLAPSE_STEPS, GanResult, train_gan
from deepfake_detect.lab.networks import TrainedNetwork
from deepfake_detect.plurals import counted
from deepfake_detect.training.run_folder import RunFolder


def train_gan_run(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: GanConfig | None = None,
    *,
    fakes: FakeSetOptions | None = None,
    classifier: str | os.PathLike[str] | None = None,
    mnist_root: Path | None = None,
    where: str | None = None,
    log: Callable[[str], None] | None = None,
    show_progress: bool = True,
) -> GanResult:
    """Train a GAN, write its samples as a labeled fake set, and evaluate them.

    In addition to the files of :func:`train_gan`, it writes ``curves.png``, ``report.json`` and
    ``fakes/`` with its manifest.

    Args:
        data, mnist_root, where: What to learn from, as for :func:`read_gan_images`.
        out: Folder of the run.
        config: Options of the training; the defaults when ``None``.
        fakes: Options of the fake set; the defaults when ``None``.
        classifier: Run of ``train-classifier``, or detector, whose features and classes evaluate the
            samples; without it there is no FID and KID.
        log: Called with each line of the log as well, such as ``print``.
        show_progress: Whether to show progress bars.

    Raises:
        OptionError: As for :func:`train_gan` and :func:`read_gan_images`, or there is a ``classifier``
            but no samples.
        CheckpointError: The classifier cannot be read, or the stored state of the run is damaged.
        DatasetLayoutError, ManifestError: The images cannot be read.
        SanityError: A loss is not finite.
        OutputError: The folder cannot be written to, or another process trains in it.
    """
    config, fakes, folder = config or GanConfig(), fakes or FakeSetOptions(), Path(out)
    # What the steps after the training need is checked before it.
    if classifier is not None and not fakes.num_samples:
        raise OptionError("classifier", "needs samples to evaluate", "raise `num_samples`, or omit it")
    network = None if classifier is None else read_reference(Path(classifier), image_size=config.side)
    images = read_gan_images(
        data,
        image_size=config.side,
        rgb=config.arch == "dcgan",
        mnist_root=mnist_root,
        where=where,
        out=folder,
        show_progress=show_progress,
    )
    result = train_gan(images, config, folder, log=log, show_progress=show_progress)
    run = RunFolder(folder, log)
    title = f"{result.spec.arch} GAN on {images.dataset}"
    save_gan_figure(result.history, folder / "curves.png", title=title)
    report = _report_on(result, run.log)
    if fakes.num_samples:
        samples = sample_images(result.generator, result.spec, fakes.num_samples, seed=config.seed)
        manifest = write_fake_set(
            folder / "fakes",
            samples,
            images,
            fakes,
            method=f"gan-{config.arch}",
            seed=config.seed,
            show_progress=show_progress,
        )
        run.log(f"wrote {manifest.path} ({counted(manifest.num_rows, 'row')}; label 1 = fake)")
        if network is not None:
            report |= _evaluate(network, samples, images, config, run.log, show_progress=show_progress)
    write_json(folder / "report.json", report)
    return result


def _report_on(result: GanResult, log: Callable[[str], None]) -> dict[str, Any]:
    """Return the part of the report about the training."""
    on_real, on_fake = result.last_accuracy()
    log(f"discriminator accuracy on real {on_real:.1%}, on fake {on_fake:.1%} over the last steps")
    return {
        "networks": asdict(result.spec),
        "steps": len(result.history),
        "discriminator_accuracy": {
            "last_steps": min(COLLAPSE_STEPS, len(result.history)),
            "on_real": on_real,
            "on_fake": on_fake,
            "mean": (on_real + on_fake) / 2,
        },
        "feature_network": "none given: no FID and KID (they need a classifier)",
    }


def _evaluate(
    network: TrainedNetwork,
    samples: np.ndarray,
    images: GanImages,
    config: GanConfig,
    log: Callable[[str], None],
    *,
    show_progress: bool,
) -> dict[str, Any]:
    """Return the part of the report that compares samples with real images."""
    has_held_out = len(images.held_out) > 0
    reals = images.held_out if has_held_out else images.images
    compared_with = "held-out images" if has_held_out else "training images"
    device = choose_device(config.device)
    quality = measure_generator(
        network, samples, reals, device=device, seed=config.seed, show_progress=show_progress
    )
    of_reals = quality.frechet_of_reals
    floor = "" if of_reals is None else f" (between two sets of real images {of_reals:.2f})"
    log(
        f"FID {quality.frechet:.2f}{floor}, KID {quality.kernel.mean:.4f}, compared with {compared_with}, "
        f"in features of {network.description}"
    )
    if quality.fraction_confident is not None:
        counts = ", ".join(f"{name}: {count}" for name, count in quality.confident_by_class.items())
        log(
            f"{quality.fraction_confident:.1%} of {counted(quality.num_samples, 'sample')} are classified "
            f"with a confidence of {CONFIDENT} or more (real images: "
            f"{quality.fraction_confident_of_reals:.1%}); {counts}"
        )
    if missing := quality.classes_missing:
        log(f"warning: no sample is confidently classified as {', '.join(missing)}: variety may be lacking")
    return {
        "feature_network": network.description,
        "compared_with": compared_with,
        "quality": quality.to_dict(),
    }
