"""What must hold before a long run is worth its time; each gate answers in a line.

Two student teams lost weeks to runs that could not learn: images and labels that no longer matched,
and a head that did not fit. Each of these gates costs seconds and stops such a run with the cause.

labels         both classes are in each split, and neither outweighs the other twenty times
initial loss   an untrained head knows nothing: its loss is near ln 2
images         what the network sees, as a picture to look at
one batch      the network can learn a few crops by heart
signal         a simple classifier on features of the untrained network, with the true labels and,
               as a control, with permuted ones, which must leave it at chance
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_detect.data.crops import CropBatch
from deepfake_detect.data.sheets import contact_sheet, save_image
from deepfake_detect.errors import SanityError
from deepfake_detect.metrics import roc_auc
from deepfake_detect.records import FAKE, Preprocessing
from deepfake_detect.training.losses import forgery_loss

SHEET_NAME = "batch.png"
_MOST_OUTWEIGHING = 20.0
_INITIAL_LOSS_TOLERANCE = 0.5
_LEARNED_CROPS, _LEARNED_STEPS, _LEARNED_LOSS = 8, 150, 0.2
_LEARNED_RATE, _LEARNED_HEAD_RATE = 3e-4, 3e-3
_ROUNDING = 1e-5
_FEWEST_VIDEOS = 10
_SIGNAL_CROPS = 384
# Standard errors of an AUC at chance that the permuted control may be away from it.
_CONTROL_ERRORS = 4.0
_NUM_OTHERS = 9  # permutations that show how far chance reaches


@dataclass(frozen=True)
class GateResult:
    """One gate's answer.

    Attributes:
        name: Of the gate.
        passed: Whether the run is worth starting, as far as this gate sees.
        finding: What was found, in a line.
        remedy: What to do where it did not pass.
        is_doubtful: Whether a person should look, though the run may start.
    """

    name: str
    passed: bool
    finding: str
    remedy: str = ""
    is_doubtful: bool = False

    def line(self) -> str:
        """Return the answer as a line of a log."""
        word = "FAIL" if not self.passed else "warn" if self.is_doubtful else "pass"
        return f"{word}  {self.name}: {self.finding}"


def require(gates: Iterator[GateResult], *, say: Callable[[str], None]) -> tuple[GateResult, ...]:
    """Go through gates one after the other, each with a line.

    Raises:
        SanityError: One did not pass; those behind it are not tried.
    """
    passed = []
    for gate in gates:
        say(gate.line())
        if not gate.passed:
            raise SanityError(gate.name, gate.finding, gate.remedy)
        passed.append(gate)
    return tuple(passed)


def check_labels(labels_of_splits: dict[str, np.ndarray], *, is_balanced: bool = False) -> GateResult:
    """Tell how the classes of each split compare.

    Args:
        labels_of_splits: int (N,), 1 = fake, both classes present.
        is_balanced: Whether the run was asked to make the classes of train count alike by sampling or
            weight; then a class that outweighs the other there is told and let pass.
    """
    counts = {
        name: (int((of == FAKE).sum()), int((of != FAKE).sum())) for name, of in labels_of_splits.items()
    }
    finding = "; ".join(f"{name} {real:,} real, {fake:,} fake" for name, (fake, real) in counts.items())
    shares = {name: max(pair) / min(pair) for name, pair in counts.items()}
    uneven = {name for name, share in shares.items() if share > _MOST_OUTWEIGHING}
    if uneven:
        finding += f"; one class outweighs the other {max(shares.values()):.0f} times"
    return GateResult(
        "labels",
        not uneven - ({"train"} if is_balanced else set()),
        finding,
        "extract more of the rarer class, or sample with --where; train alone may be uneven, with --balance "
        "sampler or weight",
        is_doubtful=bool(uneven),
    )


def check_splits(notes: Sequence[str], allowed: Collection[str]) -> GateResult:
    """Tell what the look for leaks has found; one that is not let pass has ended the run already.

    Args:
        notes: What was let pass or could not be compared, a sentence each.
        allowed: Kinds of leak that are let pass.
    """
    finding = "; ".join(notes) or "no video, person or crop is in two of them"
    if allowed:
        finding += f" (let pass where there are any: {', '.join(sorted(allowed))})"
    return GateResult("splits", True, finding, is_doubtful=bool(notes))


def check_images(batch: CropBatch, preprocessing: Preprocessing, path: Path) -> GateResult:
    """Write what the network sees as a sheet of crops with their labels."""
    images = batch.images if batch.lengths is None else batch.images[:, 0]
    mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    pictures = ((images.cpu() * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    captions = ["fake" if label == FAKE else "real" for label in batch.labels.tolist()]
    save_image(path, contact_sheet(list(pictures), captions))
    spread = float(images.float().std())
    return GateResult(
        "images",
        0.05 < spread < 20,
        f"{len(images)} crops as the network sees them are in {path.name}, standard deviation {spread:.2f}",
        "look at the sheet: its crops are flat, or the mean and std of the preprocessing are not theirs",
    )


def check_initial_loss(logits: torch.Tensor, labels: torch.Tensor) -> GateResult:
    """Tell the loss before the first step."""
    loss = float(forgery_loss(logits, labels))
    return GateResult(
        "initial loss",
        abs(loss - math.log(2)) < _INITIAL_LOSS_TOLERANCE,
        f"{loss:.3f} before the first step, ln 2 is {math.log(2):.3f}",
        "features of this size overwhelm the head: check the mean and std of the preprocessing",
    )


def check_one_batch(
    model: Any, batch: CropBatch, forward: Callable[[Any, CropBatch], torch.Tensor]
) -> GateResult:
    """Tell whether a copy of a network learns a few crops by heart, all that is trained being trained.

    Dropout is off, so that nothing but network, images and labels decides. Where the backbone is
    frozen, the head is given its features, each brought to mean 0 and deviation 1 over the crops.

    Args:
        model: The network, its trained parameters being those that require gradients.
        batch: Crops of both classes.
        forward: Returns logits (N,) of a network and a batch.
    """
    few = _few_of_both_classes(batch, _LEARNED_CROPS)
    student = _student(model)
    if few.lengths is None and not any(one.requires_grad for one in student.encoder.parameters()):
        features = _standardized(student, few)
        # A small head on a few features needs a high rate, a large one would not bear it.
        for factor in (1, 10):
            head = copy.deepcopy(student.head)
            answer = functools.partial(_head_logits, head, features)
            loss, steps = _learned_by_heart([(head, _LEARNED_HEAD_RATE * factor)], few.labels, answer)
            if loss <= _LEARNED_LOSS:
                break
    else:
        rates = [(student.head, _LEARNED_HEAD_RATE), (student.encoder, _LEARNED_RATE)]
        loss, steps = _learned_by_heart(rates, few.labels, functools.partial(forward, student, few))
    return GateResult(
        "one batch",
        loss <= _LEARNED_LOSS,
        f"loss {loss:.3f} on {len(few.labels)} crops after {steps} steps",
        "the network cannot learn a few crops by heart: gradients do not reach its layers, or the crops "
        "are the same picture",
    )


@torch.no_grad()
def _standardized(student: Any, batch: CropBatch) -> torch.Tensor:
    """Return features (N, F) of a frozen backbone, none larger than another; one that is the same for
    all crops but for rounding stays 0."""
    features = student.features(batch.images).float()
    mean, deviation = features.mean(0), features.std(0)
    standardized: torch.Tensor = (features - mean) / (deviation + _ROUNDING * mean.abs() + 1e-12)
    return standardized


def _student(model: Any) -> Any:
    """Return a copy that drops nothing and, where its backbone is trained, measures its batch-norm
    statistics on what it sees: with those of other pictures it learns ten times as slowly."""
    student = copy.deepcopy(model)
    student.train(any(parameter.requires_grad for parameter in student.encoder.parameters()))
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    return student


def _head_logits(head: Any, features: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = head(features)  # (N, 1)
    return logits.squeeze(1)


def _learned_by_heart(
    rates: Sequence[tuple[Any, float]], labels: torch.Tensor, answer: Callable[[], torch.Tensor]
) -> tuple[float, int]:
    """Train modules, each at its rate, on one batch until it is learned; return the last loss and
    the steps taken."""
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in module.parameters() if parameter.requires_grad], "lr": rate}
        for module, rate in rates
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.Adam(groups)
    loss, steps = math.inf, 0
    while steps < _LEARNED_STEPS and loss > _LEARNED_LOSS:
        value = forgery_loss(answer(), labels)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
        optimizer.step()
        loss, steps = float(value.detach()), steps + 1
    return loss, steps


def check_signal(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    *,
    num_val_videos: tuple[int, int],
    seed: int,
) -> GateResult:
    """Tell how far features of the untrained network tell the classes apart, and whether permuted
    labels leave them at chance, as they must where train and val share nothing.

    Args:
        train: Features (N, F) and labels (N,), of both classes.
        val: Likewise.
        num_val_videos: Real and fake videos among the latter: crops of one video are alike.
        seed: Of the permutations.
    """
    features, labels = train
    rng = np.random.default_rng(seed)
    auc = _auc_of_simple_classifier(features, labels, *val)
    control, *others = (
        _auc_of_simple_classifier(features, rng.permutation(labels), *val) for _ in range(1 + _NUM_OTHERS)
    )
    num_reals, num_fakes = num_val_videos
    error = math.sqrt((num_fakes + num_reals + 1) / (12 * num_fakes * num_reals))
    # Where the classes lie far apart, labels that mean nothing rank whole classes, this way or that, and
    # chance reaches further than it does for single videos: as far as other permutations show.
    reach = max(error, float(np.std(others)))
    finding = (
        f"logistic regression on untrained features, validation AUC {auc:.3f}, with permuted labels "
        f"{control:.3f}"
    )
    is_judged = min(num_val_videos) >= _FEWEST_VIDEOS
    if not is_judged:
        finding += f"; {num_reals} real and {num_fakes} fake validation videos are too few to judge by"
    elif auc < 0.5 + 2 * error:
        finding += "; no better than chance: make sure that labels and crops belong together"
    return GateResult(
        "signal",
        not is_judged or abs(control - 0.5) <= _CONTROL_ERRORS * reach,
        finding,
        "labels that mean nothing predict validation: the splits share crops, or the labels are in the "
        "pictures",
        is_doubtful=not is_judged or auc < 0.5 + 2 * error,
    )


def _auc_of_simple_classifier(
    features: np.ndarray, labels: np.ndarray, val_features: np.ndarray, val_labels: np.ndarray
) -> float:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    classifier.fit(features, labels)
    return roc_auc(val_labels, classifier.decision_function(val_features))


def evenly_of_both_classes(labels: np.ndarray, count: int = _SIGNAL_CROPS) -> list[int]:
    """Return up to ``count`` items, half of each class as far as there are, spread over all."""
    chosen = []
    for is_fake in (False, True):
        of_class = np.flatnonzero((labels == FAKE) == is_fake)
        places = np.linspace(0, len(of_class) - 1, min(len(of_class), count // 2)).round().astype(int)
        chosen += of_class[places].tolist()
    return sorted(chosen)


def _few_of_both_classes(batch: CropBatch, count: int) -> CropBatch:
    chosen: Sequence[int] = evenly_of_both_classes(batch.labels.cpu().numpy().astype(int), count)
    lengths = None if batch.lengths is None else batch.lengths[chosen]
    return CropBatch(
        batch.images[chosen], batch.labels[chosen], batch.rows[chosen], batch.unreadable_rows, lengths
    )
