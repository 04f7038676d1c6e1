"""Sanity checks before the first step; each reports one line.

Images and labels that no longer match, or a head that does not fit, cost whole runs. Each of these
checks takes seconds and stops such a run with the cause.

labels         both classes are in each split, and neither outnumbers the other twenty times; they follow the
               forgery methods and the originals of fakes, and were not shuffled or inverted
splits         what the leak check let pass
initial loss   an untrained head knows nothing: its loss is near ln 2
images         what the model sees, as a sheet to look at
one batch      the model can overfit a few crops
signal         a simple classifier on features of the untrained model, with the true labels and, as a
               control, with permuted ones, which must leave it at chance
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_detect.data.crops import CropBatch
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.sheets import contact_sheet, save_image
from deepfake_detect.errors import SanityError
from deepfake_detect.metrics import roc_auc
from deepfake_detect.plurals import counted
from deepfake_detect.records import FAKE, Preprocessing
from deepfake_detect.training.data_module import sample_both_classes
from deepfake_detect.training.distributed import on_main
from deepfake_detect.training.finetune import Part, freeze
from deepfake_detect.training.losses import forgery_loss
from deepfake_detect.training.prepare import Run, channels_last
from deepfake_detect.training.validation import check_both_classes

SHEET_NAME = "batch.png"
_MAX_CLASS_RATIO = 20.0
_INITIAL_LOSS_TOLERANCE = 0.5
_OVERFIT_CROPS, _OVERFIT_STEPS, _OVERFIT_LOSS = 8, 150, 0.2
_OVERFIT_LR, _OVERFIT_HEAD_LR = 3e-4, 3e-3
_ROUNDING = 1e-5
# A method with at least this fraction of either label has both.
_MIXED = 0.1
_MAX_METHODS = 4
_NAMES_OF_REALS = {"real", "reals", "original", "youtube", "actors", "celeb-real", "youtube-real", "pristine"}
_MIN_VIDEOS = 10
# Standard errors of an AUC at chance that the permuted control may be away from it.
_CONTROL_ERRORS = 4.0
_NUM_OTHERS = 9  # permutations that show how far chance reaches


@dataclass(frozen=True)
class CheckResult:
    """What one check found, what to do where it did not pass, and whether a person should look anyway."""

    name: str
    passed: bool
    finding: str
    remedy: str = ""
    is_doubtful: bool = False

    def line(self) -> str:
        """Return the result as a line of a log."""
        word = "FAIL" if not self.passed else "warn" if self.is_doubtful else "pass"
        return f"{word}  {self.name}: {self.finding}"


def run_checks(run: Run, parts: Sequence[Part]) -> tuple[CheckResult, ...]:
    """Run all checks in the main process, before the first step, of what will be trained.

    Raises:
        SanityError: A check did not pass; every process ends.
        ManifestError: No crop of a class can be read.
    """
    return on_main(run.accelerator, lambda: require(_checks(run, parts), log=run.folder.log))


def require(checks: Iterable[CheckResult], *, log: Callable[[str], None]) -> tuple[CheckResult, ...]:
    """Run checks, and log a line for each, up to the first that does not pass: ``SanityError``."""
    passed = []
    for check in checks:
        log(check.line())
        if not check.passed:
            raise SanityError(check.name, check.finding, check.remedy)
        passed.append(check)
    return tuple(passed)


def _checks(run: Run, parts: Sequence[Part]) -> Iterator[CheckResult]:
    config, model, data = run.config, run.model, run.data
    labels = {"train": data.train_labels, "val": data.val_labels}
    yield check_labels(labels, is_balanced=config.balance in ("sampler", "weight"))
    yield check_methods({"train": run.train_rows, "val": run.val_rows})
    yield check_originals({"train": run.train_rows, "val": run.val_rows})
    yield check_splits(run.leak_notes, config.allow_leak)
    batch = run.to_device(data.plain_batch("train", config.batch_size))
    yield check_images(batch, model.spec.preprocessing, config.out / SHEET_NAME)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = run.forward(model, batch)
    yield check_initial_loss(logits, batch.labels)
    freeze(model, parts)
    yield check_one_batch(model, batch, run.forward)
    *train, _ = _features(run, "train")
    *val, rows = _features(run, "val")
    videos = run.val_rows.columns(["video_id"])["video_id"].take(rows).to_pylist()
    real, fake = (
        {v for v, one in zip(videos, val[1], strict=True) if (one == FAKE) == is_fake}
        for is_fake in (False, True)
    )
    counts = (len(real), len(fake))
    yield check_signal(
        (train[0], train[1]),
        (val[0], val[1]),
        num_val_videos=counts,
        seed=config.seed,
        is_pretrained=config.weights is not None,
    )
    model.train(was_training)


def _features(run: Run, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (N, F) of some crops of a split, their labels (N,) and rows (N,)."""
    features, labels, rows = [], [], []
    with torch.no_grad():
        for batch in run.data.signal_batches(split):
            images = batch.images if batch.lengths is None else batch.images[:, 0]  # (N, 3, S, S)
            with run.accelerator.autocast():
                found = run.model.features(channels_last(images.to(run.accelerator.device)))
            features.append(found.float().flatten(1).cpu().numpy())
            labels.append(batch.labels.numpy().astype(int))
            rows.append(batch.rows.numpy())
    check_both_classes(run, np.concatenate([np.zeros(0, int), *labels]), f"{split} crops checked")
    return np.concatenate(features), np.concatenate(labels), np.concatenate(rows)


def check_labels(labels_of_splits: dict[str, np.ndarray], *, is_balanced: bool = False) -> CheckResult:
    """Compare the numbers of reals and fakes in each split.

    Args:
        labels_of_splits: int (N,), 1 = fake, both classes present.
        is_balanced: Whether the run balances the classes of train by sampling or weight; then a
            class that outnumbers the other there is reported but passes.
    """
    counts = {
        name: np.bincount(labels == FAKE, minlength=2).tolist() for name, labels in labels_of_splits.items()
    }
    finding = "; ".join(f"{name} {real:,} real, {fake:,} fake" for name, (real, fake) in counts.items())
    ratios = {name: max(pair) / min(pair) for name, pair in counts.items()}
    uneven = {name for name, ratio in ratios.items() if ratio > _MAX_CLASS_RATIO}
    if uneven:
        finding += f"; one class outnumbers the other {max(ratios.values()):.0f} times"
    return CheckResult(
        "labels",
        not uneven - ({"train"} if is_balanced else set()),
        finding,
        "extract more of the rarer class, or select rows with `where`; train alone may be uneven, with "
        "`balance` sampler or weight",
        is_doubtful=bool(uneven),
    )


def check_methods(rows_of_splits: Mapping[str, Manifest]) -> CheckResult:
    """Check that labels follow the forgery methods, which they do not where they were shuffled or inverted.

    Methods that all have reals and fakes mean shuffled labels; a method called as reals usually are, such as
    ``original``, with fakes alone means inverted ones. A single method shows neither.
    """
    for split, rows in rows_of_splits.items():
        found = rows.query(
            f"select method, count(*) filter (label != {FAKE}) as reals, count(*) filter (label = {FAKE}) "
            "as fakes from rows group by method order by method"
        ).to_pylist()
        listed = ", ".join(
            f"{one['method']} {one['reals']:,} real + {one['fakes']:,} fake" for one in found[:_MAX_METHODS]
        )
        mixed = [min(one["reals"], one["fakes"]) > _MIXED * (one["reals"] + one["fakes"]) for one in found]
        named = [one for one in found if str(one["method"]).lower() in _NAMES_OF_REALS]
        if len(found) > 1 and all(mixed):
            finding = f"those of {split} were shuffled, since each method has reals and fakes: {listed}"
        elif named and not any(one["reals"] for one in named) and any(one["reals"] for one in found):
            finding = f"those of {split} were inverted, since {named[0]['method']} is labeled fake: {listed}"
        else:
            continue
        remedy = "label 1 means fake: index or extract the dataset again"
        return CheckResult("labels by method", False, finding, remedy)
    return CheckResult(
        "labels by method", True, f"those of {' and '.join(rows_of_splits)} follow their methods"
    )


def check_originals(rows_of_splits: Mapping[str, Manifest]) -> CheckResult:
    """Check that the originals that fakes were made from are labeled real.

    An original has the name of its person, and other videos of that person have other names: ``033`` and
    ``033_097``, or a fake whose ``original`` is named. Where labels are shuffled some originals are fake,
    where they are inverted all.
    """
    counts = []
    for split, rows in rows_of_splits.items():
        found = rows.query(
            "with videos as (select distinct dataset, target_id, label, "
            "string_split(video_id, '/')[-1] as name from rows where target_id is not null) "
            f"select count(*) as originals, count(*) filter (label = {FAKE}) as fakes from videos as own "
            "where name = target_id and exists (select 1 from videos as other where "
            "other.name != other.target_id and other.target_id = own.target_id "
            "and other.dataset = own.dataset)"
        ).to_pylist()[0]
        originals, fakes = found["originals"], found["fakes"]
        if originals >= _MIN_VIDEOS and fakes > _MIXED * originals:
            word = "inverted" if fakes > (1 - _MIXED) * originals else "shuffled"
            return CheckResult(
                "labels of originals",
                False,
                f"those of {split} were {word}, since {fakes:,} of {originals:,} originals of fakes are "
                "labeled fake",
                "label 1 means fake: index or import the dataset again",
            )
        counts.append(f"{split} {originals:,}")
    return CheckResult("labels of originals", True, f"real, as far as fakes name them: {', '.join(counts)}")


def check_splits(notes: Sequence[str], allowed: Collection[str]) -> CheckResult:
    """Report what the leak check let pass or could not compare, a sentence each, and the kinds of leak
    that are allowed; one that is not has ended the run already.
    """
    finding = "; ".join(notes) or "no video, person or crop is in two of them"
    if allowed:
        finding += f" (allowed: {', '.join(sorted(allowed))})"
    return CheckResult("splits", True, finding, is_doubtful=bool(notes))


def check_images(batch: CropBatch, preprocessing: Preprocessing, path: Path) -> CheckResult:
    """Write what the model sees as a sheet of crops with their labels."""
    images = batch.images if batch.lengths is None else batch.images[:, 0]
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    pixels = ((images.cpu() * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    captions = ["fake" if label == FAKE else "real" for label in batch.labels.tolist()]
    save_image(path, contact_sheet(list(pixels), captions))
    spread = float(images.float().std())
    return CheckResult(
        "images",
        0.05 < spread < 20,
        f"{path.name} shows {counted(len(images), 'crop')} as the model sees them, standard deviation "
        f"{spread:.2f}",
        "look at the sheet: its crops are flat, or mean and std of the preprocessing do not fit them",
    )


def check_initial_loss(logits: torch.Tensor, labels: torch.Tensor) -> CheckResult:
    """Check that the loss before the first step is near ln 2."""
    loss = float(forgery_loss(logits, labels, label_smoothing=0))
    return CheckResult(
        "initial loss",
        abs(loss - math.log(2)) < _INITIAL_LOSS_TOLERANCE,
        f"{loss:.3f} before the first step, ln 2 is {math.log(2):.3f}",
        "features of this size overwhelm the head: check mean and std of the preprocessing",
    )


def check_one_batch(
    model: Any, batch: CropBatch, forward: Callable[[Any, CropBatch], torch.Tensor]
) -> CheckResult:
    """Check that a copy of the model overfits a few crops, with everything trained that requires gradients.

    Dropout is off, so that only model, images and labels matter. With a frozen backbone, the head is
    given its features, each brought to mean 0 and deviation 1 over the crops.
    """
    few = _few_of_both_classes(batch, _OVERFIT_CROPS)
    student = _student(model)
    if few.lengths is None and not any(one.requires_grad for one in student.encoder.parameters()):
        features = _standardized(student, few)
        # A small head on a few features needs a high rate; a large one would diverge with it.
        for factor in (1, 10):
            head = copy.deepcopy(student.head)
            rates = [(head, _OVERFIT_HEAD_LR * factor)]
            logits = functools.partial(torch.nn.Sequential(head, torch.nn.Flatten(0)), features)  # (N,)
            loss, steps = _overfit(rates, few.labels, logits)
            if loss <= _OVERFIT_LOSS:
                break
    else:
        rates = [(student.head, _OVERFIT_HEAD_LR), (student.encoder, _OVERFIT_LR)]
        loss, steps = _overfit(rates, few.labels, functools.partial(forward, student, few))
    return CheckResult(
        "one batch",
        loss <= _OVERFIT_LOSS,
        f"loss {loss:.3f} on {counted(len(few.labels), 'crop')} after {counted(steps, 'step')}",
        "the model cannot overfit a few crops: gradients do not reach its layers, or the crops are all "
        "the same image",
    )


@torch.no_grad()
def _standardized(student: Any, batch: CropBatch) -> torch.Tensor:
    """Return features (N, F) of a frozen backbone with mean 0 and deviation 1; one that is the same for
    all crops but for rounding stays 0.
    """
    features = student.features(batch.images).float()
    mean, deviation = features.mean(0), features.std(0)
    standardized: torch.Tensor = (features - mean) / (deviation + _ROUNDING * mean.abs() + 1e-12)
    return standardized


def _student(model: Any) -> Any:
    """Return a copy without dropout that, where its backbone is trained, measures batch-norm
    statistics on the crops: with those of other images it learns ten times as slowly.
    """
    student = copy.deepcopy(model)
    student.train(any(parameter.requires_grad for parameter in student.encoder.parameters()))
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    return student


def _overfit(
    rates: Sequence[tuple[Any, float]], labels: torch.Tensor, logits: Callable[[], torch.Tensor]
) -> tuple[float, int]:
    """Train modules, each at its rate, until they fit a batch; return the last loss and the steps."""
    trained = [([p for p in module.parameters() if p.requires_grad], rate) for module, rate in rates]
    groups = [{"params": parameters, "lr": rate} for parameters, rate in trained if parameters]
    optimizer = torch.optim.Adam(groups)
    loss, steps = math.inf, 0
    while steps < _OVERFIT_STEPS and loss > _OVERFIT_LOSS:
        value = forgery_loss(logits(), labels, label_smoothing=0)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for parameters, _ in trained for p in parameters], 1.0)
        optimizer.step()
        loss, steps = float(value.detach()), steps + 1
    return loss, steps


def check_signal(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    *,
    num_val_videos: tuple[int, int],
    seed: int,
    is_pretrained: bool = True,
) -> CheckResult:
    """Check how well features of the untrained model separate the classes, and that permuted labels
    leave them at chance, as they must where train and val share nothing.

    Args:
        train, val: Features (N, F) and labels (N,), of both classes.
        num_val_videos: Real and fake videos of val: crops of one video are alike.
        seed: Of the permutations.
        is_pretrained: Whether the model has pretrained weights, whose features usually separate the classes
            a little; random ones often do not.
    """
    (features, labels), rng = train, np.random.default_rng(seed)
    permuted = [rng.permutation(labels) for _ in range(1 + _NUM_OTHERS)]
    auc, control, *others = (_simple_auc(features, one, *val) for one in (labels, *permuted))
    num_reals, num_fakes = num_val_videos
    error = math.sqrt((num_fakes + num_reals + 1) / (12 * num_fakes * num_reals))
    # Where the classes are far apart, meaningless labels rank whole classes, one way or the other, and
    # chance reaches further than it does for single videos: as far as other permutations show.
    reach = max(error, float(np.std(others)))
    finding = (
        f"logistic regression on untrained features, validation AUC {auc:.3f}, with permuted labels "
        f"{control:.3f}"
    )
    has_enough = min(num_val_videos) >= _MIN_VIDEOS
    if not has_enough:
        finding += f"; {num_reals} real and {num_fakes} fake validation videos are too few for a conclusion"
    elif auc < 0.5 + 2 * error:
        finding += "; no better than chance" + (
            ", although the weights are pretrained: make sure that labels and crops belong together"
            if is_pretrained
            else ", as random weights often are: pretrained ones (`weights`) learn from far fewer crops"
        )
    return CheckResult(
        "signal",
        not has_enough or abs(control - 0.5) <= _CONTROL_ERRORS * reach,
        finding,
        "meaningless labels predict validation: the splits share crops, or the labels are in the images",
        is_doubtful=not has_enough or auc < 0.5 + 2 * error,
    )


def _simple_auc(
    features: np.ndarray, labels: np.ndarray, val_features: np.ndarray, val_labels: np.ndarray
) -> float:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    classifier.fit(features, labels)
    return roc_auc(val_labels, classifier.decision_function(val_features))


def _few_of_both_classes(batch: CropBatch, count: int) -> CropBatch:
    chosen: Sequence[int] = sample_both_classes(batch.labels.cpu().numpy().astype(int), count)
    lengths = None if batch.lengths is None else batch.lengths[chosen]
    return CropBatch(
        batch.images[chosen], batch.labels[chosen], batch.rows[chosen], batch.unreadable_rows, lengths
    )
