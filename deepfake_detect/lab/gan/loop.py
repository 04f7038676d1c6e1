"""The training of a GAN; start reading at ``train_gan``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.sheets import contact_sheet, save_image
from deepfake_detect.device import choose_device, fast_precision, keep_freed_memory
from deepfake_detect.errors import ManifestError, OutputError
from deepfake_detect.lab.gan.config import GanConfig
from deepfake_detect.lab.gan.generator import (
    DROPOUT_STREAM,
    GENERATOR_NAME,
    GRID_STREAM,
    LATENT_STREAM,
    ORDER_STREAM,
    as_rgb,
    generate_images,
    random_stream,
    sample_latent,
    save_generator,
)
from deepfake_detect.lab.gan.images import GanImages
from deepfake_detect.lab.gan.scaling import to_tanh_range
from deepfake_detect.lab.gan.spec import GanSpec
from deepfake_detect.lab.gan.step import StepRecord, gan_step, prepare_gan
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.training.run_folder import RunFolder, open_run_folder
from deepfake_detect.video import VideoWriter

_STATE_VERSION = 1
# Options that a resumed run may change, as they do not affect what is learned.
_FREE_TO_CHANGE = {"epochs", "steps", "device", "sample_every", "save_every"}
_GRID_NAMES = "step-*.png"
_GRID_COLUMNS = 4
_GRID_SIDE = 84  # pixels; smaller images are enlarged by an integer factor
_GRIDS_PER_SECOND = 4
_SMOOTHING_STEPS = 100
# A discriminator has won, or has learned nothing, if this holds for so many consecutive steps.
COLLAPSE_STEPS = 1000
_WON_ACCURACY = 0.95
_CHANCE_ACCURACY = (0.49, 0.51)


@dataclass(frozen=True)
class GanResult:
    """The result of a run.

    Attributes:
        generator: The averaged generator, in evaluation mode.
        spec: Its description.
        history: One record per step.
    """

    generator: nn.Module
    spec: GanSpec
    history: tuple[StepRecord, ...]

    def last_accuracy(self, num_steps: int = COLLAPSE_STEPS) -> tuple[float, float]:
        """Return the discriminator's mean accuracy on real and generated images over the last steps."""
        last = self.history[-num_steps:]
        return (
            float(np.mean([record.accuracy_on_real for record in last])),
            float(np.mean([record.accuracy_on_fake for record in last])),
        )


def train_gan(
    images: GanImages,
    config: GanConfig,
    out: Path,
    *,
    log: Callable[[str], None] | None = None,
    show_progress: bool = True,
) -> GanResult:
    """Train a GAN in the folder of its run.

    Writes ``generator.safetensors``, ``history.csv``, and a grid of samples of the same latent vectors
    every ``config.sample_every`` steps into ``samples/``, which ``samples.mp4`` plays. A run that was
    stopped resumes when started again with the same options, and ends, on a CPU, with the same weights
    as an uninterrupted one, bit for bit; so does a run that is given more epochs.

    Args:
        images: Training images; fewer than a batch are one batch.
        config: Options.
        out: Folder of the run.
        log: Called with each line of ``log.txt`` as well, such as ``print``.
        show_progress: Whether to show a progress bar with losses and accuracy.

    Raises:
        OptionError: The folder holds a run with other options or images.
        CheckpointError: The stored state of the run is damaged.
        SanityError: A loss is not finite.
        OutputError: The folder cannot be written to, or another process trains in it.
    """
    with open_run_folder(out, log=log) as folder:
        return _Run(images, config, folder, show_progress).finish()


class _Run:
    """The state of one run, from the first step to the last."""

    def __init__(self, images: GanImages, config: GanConfig, folder: RunFolder, show_progress: bool) -> None:
        self.device = choose_device(config.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.config, self.folder, self.out, self.show_progress = config, folder, folder.path, show_progress
        self.images, self.notes = images.images, images.notes
        self.num_steps = config.num_steps(len(self.images))
        self.per_epoch = config.steps_per_epoch(len(self.images))
        self.uses_bf16 = "bf16" in (config.precision, _fast(config, self.device))
        wanted = _options_of_run(config, images, uses_bf16=self.uses_bf16)
        folder.check_options(wanted, free_to_change=_FREE_TO_CHANGE)
        folder.write_options(wanted)
        with torch.random.fork_rng([]):
            torch.manual_seed(config.seed)
            self.gan = prepare_gan(
                config.spec(self.images.shape[3]),
                learning_rates=config.rates,
                betas=(config.beta1, config.beta2),
                average_decay=config.average_decay,
                device=self.device,
            )
        self.history: list[StepRecord] = []
        self.logged_notes: set[str] = set()

    def finish(self) -> GanResult:
        """Take the remaining steps."""
        self._restore()
        done = len(self.history)
        for note in self.notes:
            self.folder.log(note)
        if done:
            self.folder.log(f"resumes after step {done:,}")
        else:
            num_images = min(self.config.batch_size, len(self.images))
            precision = "bf16" if self.uses_bf16 else "float32"
            self.folder.log(
                f"{self.config.arch}: {counted(self.num_steps, 'step')} of {counted(num_images, 'image')}, "
                f"{precision}"
            )
        if not done or not _grids(self.out):
            self._save_grid(done)
        with progress_bar(enabled=self.show_progress) as progress:
            task = progress.add_task("steps", total=self.num_steps, completed=done, note="")
            for chosen in self._batches(done):
                self._step(chosen)
                progress.update(task, advance=1, note=_summary(self.history[-_SMOOTHING_STEPS:]))
        if len(self.history) > done:
            self._save()
        self.folder.write_history(StepRecord._fields, self.history)
        save_generator(self.out / GENERATOR_NAME, self.gan.average, self.gan.spec)
        _animate(self.out)
        return GanResult(self.gan.average.eval(), self.gan.spec, tuple(self.history))

    def _batches(self, first: int) -> Iterator[np.ndarray]:
        """Yield the indices of the images of each step from ``first`` on; every epoch has its own order."""
        order, of_epoch = np.zeros(0, np.int64), -1
        batch_size = self.config.reals_per_step
        for number in range(first, self.num_steps):
            epoch, index = divmod(number, self.per_epoch)
            if epoch != of_epoch:
                rng = random_stream(self.config.seed, ORDER_STREAM, epoch)
                order, of_epoch = rng.permutation(len(self.images)), epoch
            yield order[index * batch_size :][:batch_size]

    def _step(self, chosen: np.ndarray) -> None:
        config, number = self.config, len(self.history) + 1
        if number <= config.num_warmup_steps:
            chosen = chosen[: config.batch_size]  # one step of the discriminator
        batch = torch.from_numpy(self.images[chosen].transpose(0, 3, 1, 2)).to(self.device)
        count = min(len(chosen), config.batch_size)
        latent = sample_latent(count, config.latent_size, config.seed, number, stream=LATENT_STREAM)
        optimizers = (self.gan.generator_optimizer, self.gan.discriminator_optimizer)
        for optimizer, rate in zip(optimizers, config.rates_in_step(number), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
        _, record = gan_step(
            self.gan,
            to_tanh_range(batch).contiguous(memory_format=torch.channels_last),
            latent.to(self.device),
            step=number,
            loss=config.loss,
            seed=int(random_stream(config.seed, DROPOUT_STREAM, number).integers(2**62)),
            bf16=self.uses_bf16,
            in_place=True,
        )
        self.history.append(record)
        if number % config.sample_every == 0 or number == self.num_steps:
            self._save_grid(number)
        if number % config.save_every == 0:
            self._save()

    def _save_grid(self, step: int) -> None:
        """Write the images of the same latent vectors at every call."""
        config = self.config
        latent = sample_latent(_GRID_COLUMNS**2, config.latent_size, config.seed, 0, stream=GRID_STREAM)
        images = list(as_rgb(generate_images(self.gan.average, latent.to(self.device))))
        side = images[0].shape[0] * max(1, _GRID_SIDE // images[0].shape[0])
        sheet = contact_sheet(images, num_columns=_GRID_COLUMNS, side=side)
        save_image(self.out / "samples" / f"step-{step:07d}.png", sheet)

    def _restore(self) -> None:
        """Load the last saved state, if there is one."""
        state = self.folder.read_state(version=_STATE_VERSION)
        if state is not None:
            self.gan.load_state_dict(state["gan"])
            self.history = [StepRecord(int(step), *values) for step, *values in state["history"].tolist()]

    def _save(self) -> None:
        """Write state and history, and log the progress."""
        history = torch.tensor(self.history, dtype=torch.float64)
        self.folder.write_state({"gan": self.gan.state_dict(), "history": history}, version=_STATE_VERSION)
        self.folder.write_history(StepRecord._fields, self.history)
        step = len(self.history)
        self.folder.log(f"step {step:,} of {self.num_steps:,}: {_summary(self.history[-_SMOOTHING_STEPS:])}")
        note = collapse_note(self.history)
        if note is not None and note not in self.logged_notes:
            self.logged_notes.add(note)
            self.folder.log(f"warning: {note}")


def collapse_note(history: Sequence[StepRecord]) -> str | None:
    """Return a line about a discriminator that has won, or has not learned anything.

    Args:
        history: One record per step; ``COLLAPSE_STEPS`` or more are needed for a line.

    Example:
        >>> collapse_note([StepRecord(n, 0.0, 9.0, 1.0, 1.0) for n in range(COLLAPSE_STEPS)])[:29]
        'the discriminator was right i'
    """
    accuracy = np.array([record.accuracy for record in history])
    if len(accuracy) < COLLAPSE_STEPS:
        return None
    last = accuracy[-COLLAPSE_STEPS:]
    if last.mean() > _WON_ACCURACY:
        return (
            f"the discriminator was right in over {_WON_ACCURACY:.0%} of cases for "
            f"{counted(COLLAPSE_STEPS, 'step')}, which gives the generator little to learn from; try "
            "spectral norm, or a lower learning rate"
        )
    if _CHANCE_ACCURACY[0] <= accuracy.mean() <= _CHANCE_ACCURACY[1]:
        return (
            "the discriminator has been at chance from the start, so its 50% is no equilibrium; "
            "look at the samples, or try a higher learning rate"
        )
    return None


def _options_of_run(config: GanConfig, images: GanImages, *, uses_bf16: bool) -> dict[str, str]:
    """Return what distinguishes this run from others: its options and its images."""
    resolved = {
        **asdict(config),
        "spectral_norm": config.spec(images.images.shape[3]).spectral_norm,
        "precision": "bf16" if uses_bf16 else "no",
        "images_sha256": images.sha256(),
    }
    return {key: str(value) for key, value in resolved.items()}


def _fast(config: GanConfig, device: torch.device) -> str:
    return fast_precision(device) if config.precision == "auto" else "no"


def _summary(records: Sequence[StepRecord]) -> str:
    """Return the means over some steps as a line."""
    _, loss_d, loss_g, real, fake = np.mean(np.array(records), axis=0)
    return (
        f"loss of discriminator {loss_d:.3f}, generator {loss_g:.3f}; "
        f"accuracy on real {real:.0%}, on fake {fake:.0%}"
    )


def _grids(out: Path) -> list[Path]:
    """Return the files of the grids of samples in order."""
    return sorted((out / "samples").glob(_GRID_NAMES))


def _read_grid(path: Path) -> np.ndarray:
    try:
        return read_crop(path)
    except ManifestError as error:
        raise OutputError(path, "is damaged", "delete it, and start the run again") from error


def _animate(out: Path) -> None:
    """Write the grids of samples, in order, as a video."""
    sheets = [_read_grid(path) for path in _grids(out)]
    height, width = sheets[0].shape[:2]
    with VideoWriter(
        out / "samples.mp4", width=width, height=height, frames_per_second=_GRIDS_PER_SECOND
    ) as writer:
        for sheet in sheets:
            writer.write(sheet)
