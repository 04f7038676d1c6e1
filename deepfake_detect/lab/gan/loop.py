"""The training of a GAN: read it from ``train_gan`` downwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.sheets import contact_sheet, save_image
from deepfake_detect.device import choose_device, fast_precision, keep_freed_memory
from deepfake_detect.errors import CheckpointError, ManifestError, OutputError
from deepfake_detect.io.files import atomic_path
from deepfake_detect.lab.gan.config import GanConfig
from deepfake_detect.lab.gan.networks import create_gan
from deepfake_detect.lab.gan.pictures import GanPictures
from deepfake_detect.lab.gan.scaling import from_tanh_range, to_tanh_range
from deepfake_detect.lab.gan.spec import GanSpec
from deepfake_detect.lab.gan.step import StepRecord, gan_step, prepare_gan
from deepfake_detect.progress import progress_bar
from deepfake_detect.training.run_folder import RunFolder, open_run_folder
from deepfake_detect.video import VideoWriter

GENERATOR_NAME = "generator.safetensors"
_FORMAT = "deepfake_detect.generator"
_STATE_VERSION = 1
# What a run may go on with in another form: none of it changes what a step does.
_FREE_TO_CHANGE = {"epochs", "steps", "device", "sample_every", "save_every"}
# Streams of chance, each its own so that a step draws the same whatever was drawn before it.
_ORDER, _LATENT, _DROPOUT, _GRID, _SAMPLES = range(5)
_GRID_NAMES = "step-*.png"
_GRID_COLUMNS = 4
_GRID_SIDE = 84  # pixels; a smaller image is shown enlarged by a whole number
_SAMPLED_AT_ONCE = 250
_GRIDS_A_SECOND = 4
_SMOOTHING_STEPS = 100
# Beyond these the discriminator has won, or tells nothing apart, for this many steps in a row.
COLLAPSE_STEPS = 1000
_WON_ACCURACY = 0.95
_CHANCE = (0.49, 0.51)


@dataclass(frozen=True)
class GanResult:
    """What a run left.

    Attributes:
        generator: The averaged generator, in evaluation mode.
        spec: Its description.
        history: A record a step.
    """

    generator: nn.Module
    spec: GanSpec
    history: tuple[StepRecord, ...]

    def last_accuracy(self, num_steps: int = COLLAPSE_STEPS) -> tuple[float, float]:
        """Return the discriminator's mean accuracy on real and on made images over the last steps."""
        last = self.history[-num_steps:]
        return (
            float(np.mean([record.accuracy_on_real for record in last])),
            float(np.mean([record.accuracy_on_fake for record in last])),
        )


def train_gan(
    pictures: GanPictures,
    config: GanConfig,
    out: Path,
    *,
    log: Callable[[str], None] | None = None,
    show_progress: bool = True,
) -> GanResult:
    """Train a GAN and leave it in a folder.

    ``generator.safetensors``, ``history.csv``, a grid of samples of the same latent vectors every
    ``config.sample_every`` steps in ``samples/`` and all of them as ``samples.mp4`` are written. A
    run that was stopped, by whatever, goes on when started again with the same options and ends, on
    a CPU, with the weights of the unbroken run bit for bit; so does one that is given more epochs.

    Args:
        pictures: What to learn from; fewer than a batch are one batch.
        config: How.
        out: Folder of the run.
        log: Called with each line of ``log.txt`` too, such as ``print``.
        show_progress: Whether to draw a progress bar with losses and accuracy.

    Raises:
        OptionError: The folder holds a run with other options or pictures.
        CheckpointError: The stored state of the run is damaged.
        SanityError: A loss is not finite.
        OutputError: The folder cannot be written to, or another training is writing there.
    """
    with open_run_folder(out, log=log) as folder:
        return _Run(pictures, config, folder, show_progress).finish()


class _Run:
    """The state of one run, from the first step to the last."""

    def __init__(
        self,
        pictures: GanPictures,
        config: GanConfig,
        folder: RunFolder,
        show_progress: bool,
    ) -> None:
        self.device = choose_device(config.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.config, self.folder, self.out, self.show_progress = config, folder, folder.path, show_progress
        self.images, self.notes = pictures.images, pictures.notes
        self.num_steps = config.num_steps(len(self.images))
        self.per_epoch = config.steps_per_epoch(len(self.images))
        self.uses_bf16 = "bf16" in (config.precision, _fast(config, self.device))
        wanted = _wanted_options(config, pictures, uses_bf16=self.uses_bf16)
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
        self.told: set[str] = set()

    def finish(self) -> GanResult:
        """Take every step that is not done yet."""
        self._restore()
        done = len(self.history)
        for note in self.notes:
            self.folder.log(note)
        self.folder.log(
            f"goes on after step {done:,}"
            if done
            else f"{self.config.arch}: {self.num_steps:,} steps of "
            f"{min(self.config.batch_size, len(self.images))} images, "
            f"{'bf16' if self.uses_bf16 else 'float32'}"
        )
        if not done or not _grids(self.out):
            self._draw_grid(done)
        with progress_bar(enabled=self.show_progress) as progress:
            task = progress.add_task("steps", total=self.num_steps, completed=done, note="")
            for chosen in self._batches(done):
                self._step(chosen)
                progress.update(task, advance=1, note=_in_words(self.history[-_SMOOTHING_STEPS:]))
        if len(self.history) > done:
            self._save()
        self.folder.write_history(StepRecord._fields, self.history)
        save_generator(self.out / GENERATOR_NAME, self.gan.average, self.gan.spec)
        _animate(self.out)
        return GanResult(self.gan.average.eval(), self.gan.spec, tuple(self.history))

    def _batches(self, first: int) -> Iterator[np.ndarray]:
        """Yield which images each step from ``first`` on sees: every epoch is an order of its own."""
        order, of_epoch = np.zeros(0, np.int64), -1
        for number in range(first, self.num_steps):
            epoch, place = divmod(number, self.per_epoch)
            if epoch != of_epoch:
                order = _chance(self.config.seed, _ORDER, epoch).permutation(len(self.images))
                of_epoch = epoch
            yield order[place * self.config.reals_a_step :][: self.config.reals_a_step]

    def _step(self, chosen: np.ndarray) -> None:
        config, number = self.config, len(self.history) + 1
        if number <= config.num_warmup_steps:
            chosen = chosen[: config.batch_size]  # one step of the discriminator
        batch = torch.from_numpy(self.images[chosen].transpose(0, 3, 1, 2)).to(self.device)
        count = min(len(chosen), config.batch_size)
        latent = draw_latent(count, config.latent_size, config.seed, number, stream=_LATENT)
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
            seed=int(_chance(config.seed, _DROPOUT, number).integers(2**62)),
            bf16=self.uses_bf16,
            in_place=True,
        )
        self.history.append(record)
        if number % config.sample_every == 0 or number == self.num_steps:
            self._draw_grid(number)
        if number % config.save_every == 0:
            self._save()

    def _draw_grid(self, step: int) -> None:
        """Show what the same latent vectors have become."""
        latent = draw_latent(_GRID_COLUMNS**2, self.config.latent_size, self.config.seed, 0, stream=_GRID)
        images = list(as_rgb(make_images(self.gan.average, latent.to(self.device))))
        side = images[0].shape[0] * max(1, _GRID_SIDE // images[0].shape[0])
        sheet = contact_sheet(images, num_columns=_GRID_COLUMNS, side=side)
        save_image(self.out / "samples" / f"step-{step:07d}.png", sheet)

    def _restore(self) -> None:
        """Load what the run wrote last, if it wrote anything."""
        state = self.folder.read_state(version=_STATE_VERSION)
        if state is not None:
            self.gan.load_state_dict(state["gan"])
            self.history = [StepRecord(int(step), *values) for step, *values in state["history"].tolist()]

    def _save(self) -> None:
        """Write the run's state and history, and log how it is going."""
        history = torch.tensor(self.history, dtype=torch.float64)
        self.folder.write_state({"gan": self.gan.state_dict(), "history": history}, version=_STATE_VERSION)
        self.folder.write_history(StepRecord._fields, self.history)
        step = len(self.history)
        self.folder.log(f"step {step:,} of {self.num_steps:,}: {_in_words(self.history[-_SMOOTHING_STEPS:])}")
        note = collapse_note(self.history)
        if note is not None and note not in self.told:
            self.told.add(note)
            self.folder.log(f"warning: {note}")


def collapse_note(history: Sequence[StepRecord]) -> str | None:
    """Return a line about a discriminator that has won, or has learned nothing from the first.

    Args:
        history: A record a step; fewer than ``COLLAPSE_STEPS`` say nothing yet.

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
            f"the discriminator was right in over {_WON_ACCURACY:.0%} of cases for {COLLAPSE_STEPS:,} steps: "
            "the generator gets little to learn from; try --spectral-norm, or a lower --learning-rate"
        )
    if _CHANCE[0] <= accuracy.mean() <= _CHANCE[1]:
        return (
            "the discriminator has been at chance from the first: its 50 % is no equilibrium; "
            "look at the samples, or try a higher --learning-rate"
        )
    return None


def draw_latent(count: int, size: int, seed: int, number: int, *, stream: int = _SAMPLES) -> torch.Tensor:
    """Return latent vectors float32 (count, size), standard normal, by seed and number alone."""
    generator = torch.Generator().manual_seed(int(_chance(seed, stream, number).integers(2**62)))
    return torch.randn(count, size, generator=generator)


@torch.no_grad()
def make_images(generator: nn.Module, latent: torch.Tensor) -> np.ndarray:
    """Return what a generator makes of latent vectors (N, Z): uint8 (N, S, S, C).

    The generator computes in evaluation mode and is left in the mode it was in.
    """
    was_training = generator.training
    generator.eval()
    images = from_tanh_range(generator(latent))
    generator.train(was_training)
    made: np.ndarray = np.ascontiguousarray(images.cpu().numpy().transpose(0, 2, 3, 1))
    return made


def sample_images(generator: nn.Module, spec: GanSpec, count: int, *, seed: int = 0) -> np.ndarray:
    """Return images of a trained generator, uint8 (count, S, S, C), the same for the same seed.

    Example:
        >>> spec = GanSpec("dense")
        >>> sample_images(create_gan(spec)[0], spec, 3).shape
        (3, 28, 28, 1)
    """
    device = next(generator.parameters()).device
    pieces = []
    for number, first in enumerate(range(0, count, _SAMPLED_AT_ONCE)):
        latent = draw_latent(min(_SAMPLED_AT_ONCE, count - first), spec.latent_size, seed, number)
        pieces.append(make_images(generator, latent.to(device)))
    return np.concatenate(pieces)


def as_rgb(images: np.ndarray) -> np.ndarray:
    """Return images (N, S, S, 1 or 3) with three channels."""
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images


def save_generator(path: Path, generator: nn.Module, spec: GanSpec) -> None:
    """Write a generator's weights with its description, atomically, as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    written = save(tensors, metadata={"format": _FORMAT, "spec": json.dumps(asdict(spec))})
    with atomic_path(path) as temporary:
        temporary.write_bytes(written)


def read_generator(path: Path) -> tuple[nn.Module, GanSpec]:
    """Read a generator that :func:`save_generator` wrote, in evaluation mode on the CPU.

    Raises:
        CheckpointError: There is no such file, or it is damaged or another library's.
    """
    if not path.is_file():
        raise CheckpointError(path, "there is no such file", f"pass the {GENERATOR_NAME} of a run")
    try:
        with safe_open(path, framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        if metadata.get("format") != _FORMAT:
            raise CheckpointError(path, "holds no generator of this library", f"pass a {GENERATOR_NAME}")
        spec = GanSpec(**json.loads(metadata["spec"]))
        generator = create_gan(spec)[0]
        generator.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(path, f"cannot be read as a generator ({error})", "train it again") from error
    return generator.eval(), spec


def _wanted_options(config: GanConfig, pictures: GanPictures, *, uses_bf16: bool) -> dict[str, str]:
    """Return what distinguishes this run from others: its options, and what it learns from."""
    wanted = {key: str(value) for key, value in asdict(config).items()}
    return wanted | {"precision": "bf16" if uses_bf16 else "no", "pictures_sha256": pictures.sha256()}


def _fast(config: GanConfig, device: torch.device) -> str:
    return fast_precision(device) if config.precision == "auto" else "no"


def _chance(seed: int, stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream, number])


def _in_words(records: Sequence[StepRecord]) -> str:
    """Return means over some steps as a line."""
    _, loss_d, loss_g, real, fake = np.mean(np.array(records), axis=0)
    return (
        f"loss of discriminator {loss_d:.3f}, generator {loss_g:.3f}; "
        f"right on real {real:.0%}, on fake {fake:.0%}"
    )


def _grids(out: Path) -> list[Path]:
    """Return the files of the grids of samples in their order."""
    return sorted((out / "samples").glob(_GRID_NAMES))


def _read_grid(path: Path) -> np.ndarray:
    try:
        return read_crop(path)
    except ManifestError as error:
        raise OutputError(path, "is damaged", "delete it, and start the run again") from error


def _animate(out: Path) -> None:
    """Play the grids of samples in their order."""
    sheets = [_read_grid(path) for path in _grids(out)]
    height, width = sheets[0].shape[:2]
    with VideoWriter(
        out / "samples.mp4", width=width, height=height, frames_per_second=_GRIDS_A_SECOND
    ) as writer:
        for sheet in sheets:
            writer.write(sheet)
