"""Every choice of a training run, in one place, written beside its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from deepfake_detect.data.audit_report import LeakKind
from deepfake_detect.data.fetched import local_manifest
from deepfake_detect.data.leaks import check_leak_kinds
from deepfake_detect.data.transforms import AUGMENTATIONS, Augmentation
from deepfake_detect.errors import OptionError
from deepfake_detect.forgery.blends import parse_blends
from deepfake_detect.io.fetch import is_url
from deepfake_detect.models.heads import HEADS
from deepfake_detect.models.spec import Pooling, Temporal
from deepfake_detect.training.finetune import parse_finetune
from deepfake_detect.training.kept_epochs import parse_epochs, require_epochs

PRECISIONS = ("auto", "no", "bf16", "fp16")
Loss = Literal["bce", "focal"]
Balance = Literal["pairs", "sampler", "weight", "none"]
Optimizer = Literal["adamw", "adam", "sgd", "adadelta"]
Schedule = Literal["cosine", "one-cycle", "plateau", "constant"]
BatchNorm = Literal["adapt", "frozen"]
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "loss": get_args(Loss),
    "balance": get_args(Balance),
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "batchnorm": get_args(BatchNorm),
    "precision": PRECISIONS,
    "augmentation": AUGMENTATIONS,
    "device": ("auto", "cpu", "cuda"),
    "temporal": ("", *get_args(Temporal)),
    "head": HEADS.names(),
    "pooling": (None, *get_args(Pooling)),
}
# Least and greatest value of numbers; the greatest is not among them where marked.
_RANGES: dict[str, tuple[float, float, bool]] = {
    "learning_rate": (1e-9, 10, True),
    "head_learning_rate": (1e-9, 10, True),
    "weight_decay": (0, 1, False),
    "label_smoothing": (0, 0.5, False),
    "layer_decay": (0.01, 1, True),
    "focal_gamma": (0, 10, True),
    "mixup": (0, 10, True),
    "cutmix": (0, 10, True),
    "ema": (0, 1, False),
    "sam": (0, 10, True),
    "clip_norm": (0, 1e9, True),
    "unfreeze_epochs": (0, 1e6, True),
    "tuned_head_learning_rate": (1e-9, 10, True),
    "dropout": (0, 1, False),
    "seed": (0, 2**32, False),
    "forgery_share": (1e-9, 1, True),
    "distillation": (1e-9, 1, True),
    "distillation_temperature": (0.01, 100, True),
}
_COUNTS_FROM_0 = (
    "head_epochs",
    "epochs",
    "recalibrate_batches",
    "num_workers",
    "patience",
    "save_every",
)
_COUNTS_FROM_1 = ("batch_size", "top_blocks", "accumulate", "clip_frames", "lora_rank", "image_size")
_RECALIBRATION_BATCHES = 60


@dataclass(frozen=True)
class TrainingConfig:
    """Options of a run.

    Attributes:
        manifest: Parquet manifest with the splits ``train`` and ``val``.
        out: Folder of the run.
        backbone: As for ``create_model``.
        weights: As for ``create_model``; ``None`` starts from random weights.
        head: As for ``create_model``.
        pooling: As for ``create_model``; ``None`` is the backbone's own.
        image_size: Side of the input in pixels; the weights' own when ``None``.
        finetune: What is trained: ``features``, ``top``, ``full``, ``scratch``, ``norm``, ``lora``, or
            several joined by ``+``; see :mod:`training.regimes`.
        top_blocks: Blocks that regime ``top`` trains, counted from the output.
        lora_rank: Rank of the matrices that regime ``lora`` adds.
        layer_decay: Each block's rate is this share of that of the block above.
        unfreeze_epochs: Epochs of fine-tuning over which the blocks join in, the topmost first; 0
            starts with all of them.
        batchnorm: ``adapt``: layers that are trained measure batch-norm statistics anew, frozen ones
            keep theirs. ``frozen``: all keep theirs.
        head_epochs: Epochs with the backbone frozen, so that a random head's gradients do not
            destroy pretrained features. Regimes ``features`` and ``scratch`` have one stage: it
            lasts as many epochs as both together.
        epochs: Epochs of fine-tuning after that.
        batch_size: Crops (clips, with ``temporal``) a step and process.
        balance: ``pairs``: half real, half fake, each fake beside a real of its own person.
            ``sampler``: drawn so that both classes are equally frequent. ``weight``: in natural
            proportion, the rarer class weighing more in the loss. ``none``.
        loss: ``bce`` (binary cross-entropy on logits) or ``focal`` (Lin et al. 2017,
            arXiv:1708.02002).
        focal_gamma: Exponent of the focal loss.
        teachers: Detector files whose mean logit on each crop is learned beside its label; see
            :class:`training.teachers.Teachers`.
        distillation: Share of the loss that is about the teachers, above 0 to 1, where there are any.
        distillation_temperature: Divides teachers' and student's logits in that part (Hinton et al. 2015,
            arXiv:1503.02531); the higher it is, the more the teachers' doubts count.
        label_smoothing: Share moved from each label towards 0.5, 0 to 0.5.
        mixup: Parameter of the Beta distribution of mixup (arXiv:1710.09412); 0 is off.
        cutmix: The same of CutMix (arXiv:1905.04899); with both, each batch has one of them.
        forgery: Fakes made of the reals while training: ``""`` makes none; ``sbi`` blends a face into
            itself (arXiv:2204.08376), ``cross`` another's face into it (arXiv:1912.13458), ``sbi+cross``
            does either. Each stands in a batch beside the real it was made of.
        forgery_share: Share of the pairs of a real and a fake whose fake is made so, above 0 to 1. With
            1 the manifest's fakes are not trained on, and there need not be any; where ``val`` has
            none either, fakes made of its reals are written to ``val_blends`` and selected on.
        augmentation: A name of ``data.transforms.AUGMENTATIONS``.
        optimizer: ``adamw``, ``adam``, ``sgd`` (momentum 0.9) or ``adadelta``.
        schedule: Of the learning rate, over each stage: ``cosine`` and ``one-cycle`` (Smith 2018,
            arXiv:1803.09820) by step, ``plateau`` (a third after two epochs without a better
            validation AUC) and ``constant``.
        learning_rate: Peak rate of the backbone.
        head_learning_rate: Peak rate of the head.
        tuned_head_learning_rate: Peak rate of the head while the backbone is trained too;
            ``head_learning_rate`` when ``None``.
        weight_decay: Of the optimizer.
        dropout: Before the head; the backbone's default when ``None``.
        accumulate: Batches whose gradients make one step.
        clip_norm: Largest norm of a step's gradient; 0 does not limit it.
        ema: Decay a step of the moving average of weights that is validated and kept in place of the
            weights themselves; 0 is off.
        sam: Radius rho of sharpness-aware minimization (arXiv:2010.01412), which takes twice the
            time; 0 is off.
        patience: Epochs of fine-tuning without a better validation AUC after which the run ends; 0
            runs to the end.
        recalibrate_batches: Batches of training crops on which batch-norm statistics are measured
            before the first step; 0 keeps those of the weights. ``None``: 60 in regime ``full``, which
            trains those layers, unless ``batchnorm`` is ``frozen``; else 0.
        temporal: ``""`` judges crops; ``lstm`` or ``transformer`` judges sequences of them.
        clip_frames: Crops of a sequence at most, evenly spaced.
        precision: ``auto`` (bf16 or fp16 where the hardware computes in it), ``no``, ``bf16``, ``fp16``.
        num_workers: Processes that read crops.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: Of initialization, order and augmentation.
        save_every: Steps after which the run's state is written, beside that after each epoch; a run
            that is killed goes on from there. 0 writes after epochs alone.
        save_epochs: Epochs whose network is kept in ``epochs`` beside the selected one, counted over
            both stages; 0 is before the first step.
        sanity: Whether to make sure, before the first step, that data and network are fit to be
            trained; see :mod:`training.sanity`.
        tensorboard: Whether to write TensorBoard's event files beside ``history.csv``.
        name: Of the detector.
        version: Of the detector.
        where: SQL condition that the rows of the manifest fulfil, see :mod:`data.rows`; ``None``
            takes all.
        allow_leak: Kinds of leak between the splits that are let pass, of ``data.audit_report.LEAK_KINDS``;
            any other is refused.
    """

    manifest: Path
    out: Path
    backbone: str
    weights: str | None = None
    head: str = "dropout"
    pooling: str | None = None
    image_size: int | None = None
    finetune: str = "full"
    top_blocks: int = 3
    lora_rank: int = 8
    layer_decay: float = 1.0
    unfreeze_epochs: float = 0.0
    batchnorm: BatchNorm = "adapt"
    head_epochs: int = 1
    epochs: int = 5
    batch_size: int = 32
    balance: Balance = "pairs"
    loss: Loss = "bce"
    focal_gamma: float = 2.0
    teachers: tuple[str, ...] = ()
    distillation: float = 0.5
    distillation_temperature: float = 2.0
    label_smoothing: float = 0.04
    mixup: float = 0.0
    cutmix: float = 0.0
    forgery: str = ""
    forgery_share: float = 1.0
    augmentation: Augmentation = "strong"
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    learning_rate: float = 4e-4
    head_learning_rate: float = 1e-3
    tuned_head_learning_rate: float | None = None
    weight_decay: float = 0.05
    dropout: float | None = None
    accumulate: int = 1
    clip_norm: float = 5.0
    ema: float = 0.0
    sam: float = 0.0
    patience: int = 0
    recalibrate_batches: int | None = None
    temporal: str = ""
    clip_frames: int = 16
    precision: str = "auto"
    num_workers: int = 2
    device: str = "auto"
    seed: int = 0
    save_every: int = 500
    save_epochs: tuple[int, ...] = ()
    sanity: bool = True
    tensorboard: bool = False
    name: str = "detector"
    version: str = "1.0"
    where: str | None = None
    allow_leak: tuple[LeakKind, ...] = ()

    def __post_init__(self) -> None:
        for option, choices in _CHOICES.items():
            if getattr(self, option) not in choices:
                named = ", ".join("''" if choice == "" else str(choice) for choice in choices)
                raise OptionError(option, f"{getattr(self, option)!r} is unknown", f"choose {named}")
        for option, (low, high, reaches_high) in _RANGES.items():
            value = getattr(self, option)
            if value is not None and not (low <= value < high or (reaches_high and value == high)):
                reach = f"up to {high:g}" if reaches_high else f"up to below {high:g}"
                raise OptionError(option, f"is {value}", f"pass {low:g} {reach}")
        for least, options in ((0, _COUNTS_FROM_0), (1, _COUNTS_FROM_1)):
            for option in options:
                value = getattr(self, option)
                if value is not None and value < least:
                    raise OptionError(option, f"is {value}", f"pass {least} or more")
        if self.head_epochs + self.epochs == 0:
            raise OptionError("epochs", "is 0 and so is head_epochs", "train for at least one epoch")
        require_epochs(self.save_epochs, self.head_epochs + self.epochs)
        self._check_together()
        check_leak_kinds(self.allow_leak)

    @property
    def num_recalibration_batches(self) -> int:
        """Batches that batch-norm statistics are measured on before the first step."""
        if self.recalibrate_batches is not None:
            return self.recalibrate_batches
        is_adapted = self.finetune == "full" and self.batchnorm == "adapt"
        return _RECALIBRATION_BATCHES if is_adapted else 0

    @property
    def trains_on_stored_fakes(self) -> bool:
        """Whether fakes of the manifest are among what is learned."""
        return not self.forgery or self.forgery_share < 1

    def _check_together(self) -> None:
        """Refuse options that contradict one another."""
        if self.forgery:
            parse_blends(self.forgery)
            if self.temporal or self.balance != "pairs":
                raise OptionError(
                    "forgery", "puts each fake beside its real", "choose balance pairs, and no sequence model"
                )
        words = parse_finetune(self.finetune)
        if "scratch" in words and self.weights is not None:
            raise OptionError(
                "finetune", "scratch starts from random weights", "leave out weights, or choose full"
            )
        if self.temporal and (self.head != "dropout" or self.pooling is not None):
            raise OptionError("head", "is that of the sequence model", "leave out head and pooling")
        if self.balance == "pairs" and self.batch_size % 2:
            raise OptionError(
                "batch_size", f"{self.batch_size} cannot hold pairs", "pass an even number from 2"
            )
        if self.balance == "pairs" and self.temporal:
            raise OptionError("balance", "sequences are not paired", "choose sampler, weight or none")
        if (self.mixup or self.cutmix) and self.temporal:
            raise OptionError("mixup", "mixes crops, not sequences", "leave out mixup and cutmix")
        if self.teachers and self.temporal:
            raise OptionError("teachers", "judge crops, not sequences", "leave out teachers, or temporal")
        if self.sam and self.precision == "fp16":
            raise OptionError("sam", "needs two exact gradients a step", "choose precision no or bf16")


def read_config(path: Path | None, **changes: Any) -> TrainingConfig:
    """Read a configuration from YAML.

    Args:
        path: A YAML mapping of options by name, or ``None`` for an empty one; file names in it are
            relative to the working folder.
        **changes: Options that stand in place of those of the file.

    Raises:
        OptionError: The file cannot be read, names an option that does not exist, or a value is out
            of range; an option that has no default is missing.
    """
    import yaml

    if path is None:
        return config_from(changes, source="the run")
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise OptionError(path, f"cannot be read ({reason})", "pass a YAML file of options") from error
    if not isinstance(values, Mapping):
        raise OptionError(path, "holds no options", "write one 'name: value' a line")
    return config_from({**values, **changes}, source=str(path))


def config_from(values: Mapping[str, Any], *, source: str) -> TrainingConfig:
    """Make a configuration of options by name.

    A manifest behind a URL is fetched, see :func:`deepfake_detect.data.fetched.local_manifest`.

    Raises:
        OptionError: An option does not exist, is missing or out of range.
    """
    known = {one.name for one in fields(TrainingConfig)}
    if unknown := sorted(map(str, set(values) - known)):
        raise OptionError(
            source, f"has no option {', '.join(unknown)}", f"the options are {', '.join(sorted(known))}"
        )
    if missing := sorted({"manifest", "out", "backbone"} - set(values)):
        raise OptionError(source, f"lacks {', '.join(missing)}", "give them there or as flags")
    typed = {name: _converted(name, value, source) for name, value in values.items()}
    if is_url(str(values["manifest"])):  # which a path would cut a slash from
        typed["manifest"] = local_manifest(values["manifest"])
    return TrainingConfig(**typed)


def _converted(name: str, value: Any, source: str) -> Any:
    """Return a value as the type of its field: YAML reads 4e-4 and a path as text, and no as false."""
    kind = str(TrainingConfig.__dataclass_fields__[name].type)
    refused = OptionError(name, f"is {value!r} in {source}", f"pass {kind.replace('bool', 'true or false')}")
    if name in ("allow_leak", "teachers"):
        if not isinstance(value, (str, list, tuple, type(None))):
            raise refused
        return (value,) if isinstance(value, str) else tuple(value or ())
    if name == "save_epochs":
        # YAML reads one epoch as a number and several as text, or as a list.
        listed = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        return parse_epochs(",".join(map(str, listed)), option=name) if listed else ()
    if value is None and kind.endswith("None"):
        return None
    if name == "precision" and value is False:
        return "no"
    kind = kind.removesuffix(" | None")
    if value is None or isinstance(value, bool) != (kind == "bool"):
        raise refused
    if kind in ("int", "float"):
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise refused from error
        if kind == "int" and not number.is_integer():
            raise refused
        return int(number) if kind == "int" else number
    if kind != "bool" and not isinstance(value, (str, Path)):
        raise refused
    return Path(value) if kind == "Path" else value
