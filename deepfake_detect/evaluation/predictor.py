"""Any Python function as a detector that evaluation measures: crops in, a number each out."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from deepfake_detect.data.crops import CropDataset, SampledRow, row_and_seed
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.fusion import logits_of
from deepfake_detect.models.config import DetectorConfig
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.records import Preprocessing

PredictFunction = Callable[[list[np.ndarray]], Any]
"""RGB uint8 crops (H, W, 3) in their stored sizes -> N numbers, higher = more likely fake: probabilities, or
logits."""
_LONGEST_REASON = 200
_ROUNDING = 1e-6  # of float32 probabilities
_NO_PREPROCESSING = Preprocessing(image_size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Predictor(BaseDetector):
    """A function as a detector of the crops of a manifest.

    Whether it returns probabilities or logits is decided over all crops of the first run: logits if one of
    them lies outside 0 to 1.

    Args:
        function: See :data:`PredictFunction`.
        name: Of it, for errors and reports.
        manifest: Whose crops it gets, unchanged.
    """

    def __init__(self, function: PredictFunction, *, name: str, manifest: Manifest) -> None:
        self._function, self.name = function, name
        self.returns: str | None = None
        self.config = DetectorConfig(
            name=name,
            version="",
            model=ModelSpec("predict", _NO_PREPROCESSING),
            geometry=manifest.geometry,
            aggregation_rule="mean",
            is_calibrated=False,
        )

    def chunk_logits(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return what the function returns, float64 (N,), for RGB uint8 crops (H, W, 3).

        Raises:
            OptionError: It raises, or returns something else than one finite number per crop.
        """
        try:
            returned = self._function(list(crops))
            found = np.asarray(returned.detach().cpu() if isinstance(returned, torch.Tensor) else returned)
        except Exception as error:  # of a function of the user
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
            raise self._error(f"raised {reason}", "it gets a list of RGB uint8 arrays (H, W, 3)") from error
        remedy = "return one number per crop, higher for fake; of two classes, that of fake"
        if found.shape not in ((len(crops),), (len(crops), 1)):
            raise self._error(f"returned the shape {found.shape} for {len(crops)} crops", remedy)
        if not (np.issubdtype(found.dtype, np.number) or found.dtype == bool):
            raise self._error(f"returned {found.dtype}", remedy)
        numbers = found.astype(np.float64).reshape(-1)
        if not np.isfinite(numbers).all():
            raise self._error("returned numbers that are not finite", remedy)
        return numbers

    def as_logits(self, outputs: np.ndarray) -> np.ndarray:
        """Return the logits float64 (N,) of all outputs of a run.

        Raises:
            OptionError: It returned probabilities in an earlier run, and now something else.
        """
        is_probability = bool(((outputs >= -_ROUNDING) & (outputs <= 1 + _ROUNDING)).all())
        if self.returns is None:
            self.returns = "probabilities" if is_probability else "logits"
        if self.returns == "logits":
            return outputs
        if not is_probability:
            raise self._error("returned probabilities first, and now numbers outside 0 to 1", "return logits")
        return logits_of(np.clip(outputs, 0.0, 1.0))

    def _error(self, cause: str, remedy: str) -> OptionError:
        return OptionError("predict", f"{self.name} {cause}", remedy)


def find_function(predict: str | PredictFunction) -> tuple[PredictFunction, str]:
    """Return a function and its name.

    Args:
        predict: A callable, or ``"module:function"``; modules of the working folder are found too.

    Raises:
        OptionError: There is no such module or function.

    Example:
        >>> find_function("math:sqrt")[1]
        'math:sqrt'
    """
    if callable(predict):
        module = getattr(predict, "__module__", None) or type(predict).__module__
        return predict, f"{module}:{getattr(predict, '__qualname__', type(predict).__qualname__)}"
    module, _, path = str(predict).partition(":")
    if not module or not path:
        raise OptionError("predict", f"is {predict!r}", "must be module:function, such as mine.model:predict")
    found = _imported(module, predict)
    for part in path.split("."):
        if not hasattr(found, part):
            raise OptionError("predict", f"{predict}: {module} has no {path}", "name a function of it")
        found = getattr(found, part)
    if not callable(found):
        raise OptionError("predict", f"{predict} is not a function", "name a function, or an object to call")
    return found, predict


def _imported(module: str, predict: str) -> Any:
    """Import a module, also of the working folder, as ``python -m`` does."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module)
    except Exception as error:  # the module runs when it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
        remedy = "start in the folder that has it, or set PYTHONPATH"
        raise OptionError("predict", f"{predict}: {module} cannot be imported ({reason})", remedy) from error


class StoredBatch(NamedTuple):
    """Stored crops in their own sizes, and the rows of the unreadable ones."""

    images: list[np.ndarray]
    rows: torch.Tensor  # int64 (N,), rows of the manifest
    unreadable_rows: torch.Tensor  # int64 (M,)


class StoredCrops(CropDataset):
    """Items of row and stored crop, RGB uint8 (H, W, 3), or ``None`` if it cannot be read."""

    def __getitem__(self, sampled: SampledRow) -> tuple[int, np.ndarray | None]:  # type: ignore[override]
        row, _ = row_and_seed(sampled)
        image = self.image(row)
        if image is not None and self._augment is not None:
            image = self._augment(image)
        return row, image


def collate_stored(items: Sequence[tuple[int, np.ndarray | None]]) -> StoredBatch:
    """Return items as a batch."""
    rows = [row for row, image in items if image is not None]
    unreadable = [row for row, image in items if image is None]
    images = [image for _, image in items if image is not None]
    return StoredBatch(images, torch.tensor(rows), torch.tensor(unreadable, dtype=torch.int64))
