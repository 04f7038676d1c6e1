"""``explain``: where in the faces of clips, images or a manifest a detector finds its evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.device import choose_device
from deepfake_detect.errors import OptionError
from deepfake_detect.explanation.crops import Explanation, crop_tensors, explain_crops
from deepfake_detect.explanation.options import ExplainOptions, Method
from deepfake_detect.explanation.randomize import RandomizationCheck, randomization_check
from deepfake_detect.explanation.sources import (
    PersonCrops,
    SourceCrop,
    crops_of_clip,
    crops_of_manifest,
    first_image,
)
from deepfake_detect.io.files import atomic_path, make_folder, write_json
from deepfake_detect.models.detector import BaseDetector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.report.explain import save_heat_map_sheet
from deepfake_detect.runtimes.load import find_detector, torch_detector

MAX_PEOPLE = 3
"""People of a clip who are explained: those visible in the most frames."""
_MAX_CHECKED = 16  # crops whose maps are compared


@dataclass(frozen=True, eq=False)
class ExplainedCrops:
    """Crops with the maps of their evidence.

    Attributes:
        crops: What was explained, in order.
        explanations: One for each crop.
        num_left_out: People left out of each clip that has more than ``MAX_PEOPLE``, by its name.
        randomization: Whether the maps depend on the weights, where that was checked.
    """

    crops: tuple[SourceCrop, ...]
    explanations: tuple[Explanation, ...]
    num_left_out: dict[str, int]
    randomization: RandomizationCheck | None = None

    @property
    def num_empty(self) -> int:
        """Number of maps that are empty: no evidence in their crops for the target."""
        return sum(not one.heat_map.any() for one in self.explanations)


def explain(
    clips: Sequence[str | os.PathLike[str]] = (),
    *,
    crops: Sequence[str | os.PathLike[str]] = (),
    manifest: str | os.PathLike[str] | None = None,
    split: str = "all",
    where: str | None = None,
    detector: str | os.PathLike[str] | BaseDetector | None = None,
    device: str = "auto",
    method: Method = ExplainOptions.method,
    target: Literal["fake", "real"] = ExplainOptions.target,
    layer: str | None = ExplainOptions.layer,
    num_frames: int = ExplainOptions.num_frames,
    num_videos: int = ExplainOptions.num_videos,
    alpha: float = ExplainOptions.alpha,
    check_randomization: bool = ExplainOptions.check_randomization,
    seed: int = ExplainOptions.seed,
    out: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
) -> ExplainedCrops:
    """Compute heat maps that show which regions of each face a detector's score depends on.

    Each map is scaled to its own crop: 1 is its strongest position, however weak. A sequence model
    reads the crops of one person in order, and each map shows the evidence in its crop for the
    probability of the whole sequence.

    Args:
        clips: Clips, or images with faces, in which faces are detected.
        crops: Images that are face crops.
        manifest: Manifest to sample crops from.
        split, where: Split, and SQL condition, of its rows.
        detector: Detector file of any kind, or a detector in PyTorch; the bundled one when ``None``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        method, target, layer, num_frames, num_videos, alpha, check_randomization, seed: See
            :class:`explanation.options.ExplainOptions`.
        out: Folder for ``heat_maps.png`` (each crop next to its overlay), ``heat_maps.npz`` and
            ``randomization.json``; nothing is written when ``None``.
        show_progress: Whether to show progress bars.

    Raises:
        OptionError: Nothing to explain was passed, or an option is out of range or not possible with
            this detector.
        CheckpointError, VideoError, ManifestError: An input cannot be read.
        OutputError: The folder cannot be written to.

    Example:
        >>> explained = explain(["examples/demo.mp4"], num_frames=1, show_progress=False)
        >>> explained.explanations[0].heat_map.shape
        (192, 192)
    """
    options = ExplainOptions(method, target, layer, num_frames, num_videos, alpha, check_randomization, seed)
    if not clips and not crops and manifest is None:
        raise OptionError("clips", "are missing", "pass `clips`, `crops` or `manifest`")
    scorer = _scorer(detector, device)
    folder = None if out is None else make_folder(Path(out))
    people = [[SourceCrop(first_image(path), Path(path).name)] for path in crops]
    num_left_out = {}
    for clip in clips:
        found = crops_of_clip(
            clip,
            geometry=scorer.config.geometry,
            num_frames=num_frames,
            device=scorer.device,
            show_progress=show_progress,
        )
        if len(found) > MAX_PEOPLE:
            num_left_out[str(clip)] = len(found) - MAX_PEOPLE
        people += found[:MAX_PEOPLE]
    if manifest is not None:
        people += _crops_of_rows(scorer, manifest, split, where, options)
    # Single crops of all people go through the network together; a sequence is one person's.
    groups = people if scorer.is_sequential else [[crop for person in people for crop in person]]
    shown = [pair for group in groups for pair in _explained(scorer, group, options, show_progress)]
    explained = ExplainedCrops(
        crops=tuple(crop for crop, _ in shown),
        explanations=tuple(one for _, one in shown),
        num_left_out=num_left_out,
        randomization=_check(scorer, groups[0], options, show_progress) if check_randomization else None,
    )
    if folder is not None:
        _write(explained, folder, scorer, options)
    return explained


def _scorer(detector: str | os.PathLike[str] | BaseDetector | None, device: str) -> TorchDetector:
    if isinstance(detector, BaseDetector):
        return torch_detector(detector, purpose="maps")
    # Maps need a network's layers and gradients, which only PyTorch gives.
    found = find_detector(detector, runtime="torch", device=device)
    return TorchDetector(*found.read_torch(), device=choose_device(device))


def _crops_of_rows(
    scorer: TorchDetector,
    manifest: str | os.PathLike[str],
    split: str,
    where: str | None,
    options: ExplainOptions,
) -> list[PersonCrops]:
    rows = read_manifest(manifest).split(split)
    sequence = scorer.config.model.sequence
    return crops_of_manifest(
        rows if where is None else rows.where(where),
        geometry=scorer.config.geometry,
        num_videos=options.num_videos,
        per_video=1 if sequence is None else sequence.num_frames,
        seed=options.seed,
    )


def _explained(
    scorer: TorchDetector, group: PersonCrops, options: ExplainOptions, show_progress: bool
) -> list[tuple[SourceCrop, Explanation]]:
    found = explain_crops(
        scorer,
        [crop.image for crop in group],
        method=options.method,
        layer=options.layer,
        target=options.target,
        alpha=options.alpha,
        show_progress=show_progress,
    )
    return [(group[one.index], one) for one in found]


def _check(
    scorer: TorchDetector, crops: PersonCrops, options: ExplainOptions, show_progress: bool
) -> RandomizationCheck:
    _, images = crop_tensors(scorer, [crop.image for crop in crops[:_MAX_CHECKED]])
    return randomization_check(
        scorer.model,
        images,
        method=options.method,
        layer=options.layer,
        target=options.target,
        seed=options.seed,
        show_progress=show_progress,
    )


def _write(explained: ExplainedCrops, folder: Path, scorer: TorchDetector, options: ExplainOptions) -> None:
    crops, found, config = explained.crops, explained.explanations, scorer.config
    what = f"evidence for {options.target} by {options.method}, {config.name} {config.version}"
    save_heat_map_sheet(
        found,
        [crop.name for crop in crops],
        [crop.label for crop in crops],
        folder / "heat_maps.png",
        title=f"{what}; each map relative to its own strongest position",
    )
    with atomic_path(folder / "heat_maps.npz") as temporary:
        np.savez_compressed(
            temporary,
            heat_maps=np.stack([one.heat_map for one in found]),
            fake_probability=np.array([one.fake_probability for one in found]),
            names=np.array([crop.name for crop in crops]),
            labels=np.array([-1 if crop.label is None else crop.label for crop in crops]),
        )
    check = explained.randomization
    if check is not None:
        facts = {"mean": check.mean, "maps_changed": check.maps_changed}
        write_json(folder / "randomization.json", {**asdict(check), **facts})
