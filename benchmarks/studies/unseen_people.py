r"""Teach a detector forgeries of people it has never seen, and measure it on such people.

    torchrun --nproc-per-node 2 benchmarks/studies/unseen_people.py --initial detector-2.2.safetensors \
        --ffpp ffpp_c23 --dfdc dfdc_faces --lfw lfw_2000.tar --landmarks face_landmarks68.onnx --out study

1. ``general``: from the initial detector, on DFDC's pairs and on forgeries made from reals of DFDC and LFW,
   without FaceForensics++.
2. ``fold-0`` to ``fold-3``: from there, on the people of the other three folds of FaceForensics++ c23 too.
3. Each fold's detector is measured on the people of its fold, so every clip is scored by a network that
   has never seen its people; intervals are from resampling people.
4. ``final``: the mean of the weights of these four and of the initial detector, calibrated. It has seen all
   folds: its own figures on FaceForensics++ mean nothing. Its parts, the means of one fold's detector with
   the initial one, are measured as in step 3.

Run it with OMP_NUM_THREADS=1 and one process per core: small batches on one core each are faster than two
cores on one batch. It resumes when started again, from OUT.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.measuring import add_json_option, record  # noqa: E402
from benchmarks.studies import unseen_people_crops as data  # noqa: E402
from benchmarks.studies.unseen_people_batches import MADE, TRACELESS, PairStream, Plan  # noqa: E402
from benchmarks.studies.unseen_people_final import NARROWEST, finished  # noqa: E402
from benchmarks.studies.unseen_people_measure import aucs_of  # noqa: E402
from deepfake_detect import average_detectors  # noqa: E402
from deepfake_detect.io.files import atomic_path, make_folder, read_json, write_json  # noqa: E402
from deepfake_detect.models.checkpoint import DetectorConfig, read_detector, save_detector  # noqa: E402
from deepfake_detect.records import CropGeometry, Preprocessing  # noqa: E402
from deepfake_detect.training.optimization import averaged  # noqa: E402

MARGIN = 1.1
FRACTION = 0.8  # of the folds in the final weights
SIDE = 192
_FROZEN = ("conv_stem", "bn1", "blocks.0", "blocks.1")
_MIXED_AFTER = ("blocks.1", "blocks.2")
_SMOOTHING, _RANKING, _TEACHING, _TEACHER_TEMPERATURE = 0.04, 0.3, 0.5, 0.8
_WARM_UP, _FLOOR = 60, 0.05
_SAVE_EVERY = 100


@dataclass(frozen=True)
class Stage:
    """A training: of which crops, how long, how fast, from which seed."""

    plan: Plan
    steps: int
    rate: float
    average: float
    seed: int


GENERAL = Stage(
    Plan(176, {data.DFDC: 5, MADE: 8}, {data.DFDC: 0.4, data.LFW: 0.6}), 2200, 6e-4, average=0.998, seed=21
)
FOLD = Stage(
    Plan(SIDE, {data.FFPP: 4, data.DFDC: 6, MADE: 4}, {data.FFPP: 0.3, data.DFDC: 0.3, data.LFW: 0.4}),
    450,
    4e-4,
    average=0.99,
    seed=31,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, words in {
        "initial": "detector file to begin with, also the teacher of DFDC's crops",
        "ffpp": "folder with crops.tar, labels.csv and landmarks68.npz",
        "dfdc": "folder with tars of crops and labels.csv",
        "lfw": "tar of LFW's images",
        "landmarks": "ONNX network that finds 68 landmarks",
        "out": "folder of the study",
    }.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    add_json_option(parser, "unseen_people")
    given = parser.parse_args()
    distributed.init_process_group("gloo")  # as torchrun sets it up
    out = make_folder(given.out)
    crops = _crops(given)
    general = _trained(out / "general.safetensors", given.initial, GENERAL, [], crops, given.initial)
    folds = []
    for number in range(len(data.FOLDS)):
        known = [crop for crop in crops if _is_known(crop, number)]
        stage, file = replace(FOLD, seed=FOLD.seed + number), out / f"fold-{number}.safetensors"
        folds.append(_trained(file, general, stage, known, crops, given.initial))
    if distributed.get_rank() == 0:
        mean = out / "mean.safetensors"
        average_detectors(folds, name="unseen-people", out=mean)
        parts, final = finished(folds, given.initial, crops, out, fraction=FRACTION, margin=MARGIN)
        stages = [read_json(path.with_suffix(".json")) for path in (general, *folds)]
        sets = {"ffpp": given.ffpp, "dfdc": out / "dfdc", "out": out}
        rows = {
            "initial": aucs_of([given.initial] * len(folds), given.initial, data.MARGINS[data.DFDC], **sets),
            "general": aucs_of([general] * len(folds), general, MARGIN, **sets),
            "folds": aucs_of(folds, mean, MARGIN, **sets),
            "final": aucs_of(parts, final, MARGIN, **sets),
        }
        record("unseen_people", given, {"stages": stages, "rows": rows}, packages=("torch", "timm"))
    distributed.destroy_process_group()
    return 0


def _crops(given: argparse.Namespace) -> list[data.Crop]:
    """Return all crops but those of test."""
    crops = [
        *data.read_ffpp(given.ffpp),
        *data.read_dfdc(given.dfdc, given.out, given.landmarks),
        *data.read_lfw(given.lfw, given.landmarks),
    ]
    return [crop for crop in crops if crop.split != "test"]


def _is_known(crop: data.Crop, fold: int) -> bool:
    """Whether a fold's training may see a crop of FaceForensics++: neither of its people is in the fold."""
    return crop.dataset == data.FFPP and not {crop.person, crop.source} & set(data.FOLDS[fold])


def _trained(
    file: Path,
    initial: Path,
    stage: Stage,
    ffpp: Sequence[data.Crop],
    crops: Sequence[data.Crop],
    teacher: Path,
) -> Path:
    """Train a stage, unless its detector is there, and return the detector's file."""
    if not file.exists():
        seen = [*ffpp, *(crop for crop in crops if crop.split == "train")]
        _train(file, initial, stage, seen, teacher)
    distributed.barrier()
    return file


def _train(file: Path, initial: Path, stage: Stage, crops: Sequence[data.Crop], teacher: Path) -> None:
    rank, kept = distributed.get_rank(), file.with_suffix(".state.pt")
    torch.manual_seed(stage.seed)
    model, config = read_detector(initial)
    model, taught_by = _prepared(model), read_detector(teacher)[0].to(memory_format=torch.channels_last)
    average = averaged(model, stage.average)
    optimizer = torch.optim.AdamW(_groups(model), lr=stage.rate, betas=(0.9, 0.99))
    schedule = LambdaLR(optimizer, lambda step: _rate_at(step, stage.steps))
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    done = _restore(kept, parts) if kept.exists() else 0
    parallel = DistributedDataParallel(model, broadcast_buffers=False)
    stream = PairStream(crops, stage.plan, seed=stage.seed * 1000 + 2 * done + rank)
    batches = iter(DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=6))
    start, cpu = time.time(), time.process_time()
    for step in range(done + 1, stage.steps + 1):
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(parallel, taught_by, *next(batches))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        if rank == 0 and step % _SAVE_EVERY == 0:
            print(f"{file.stem}: step {step} of {stage.steps}, loss {loss.item():.3f}", flush=True)
            state = {"step": step, **{name: part.state_dict() for name, part in parts.items()}}
            with atomic_path(kept) as temporary:
                torch.save(state, temporary)
    if rank == 0:
        facts = {"name": file.stem, "steps": stage.steps, "seconds": round(time.time() - start),
                 "cpu_seconds": round(2 * (time.process_time() - cpu))}  # fmt: skip
        write_json(file.with_suffix(".json"), facts)
        save_detector(file, average.module, _config(config, file.stem))
        kept.unlink(missing_ok=True)


def _config(config: DetectorConfig, name: str) -> DetectorConfig:
    """Return the config of a detector that is not calibrated yet."""
    preprocessing = Preprocessing(SIDE, config.model.preprocessing.mean, config.model.preprocessing.std)
    return replace(
        config,
        name=name,
        version="1.0",
        model=replace(config.model, preprocessing=preprocessing),
        geometry=CropGeometry(margin=MARGIN, narrowest=NARROWEST),
        temperature=1.0,
        calibration=None,
        threshold=0.5,
        uncertain_low=0.5,
        uncertain_high=0.5,
        is_calibrated=False,
    )


def _restore(kept: Path, parts: dict[str, Any]) -> int:
    state = torch.load(kept, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _prepared(model: nn.Module) -> nn.Module:
    """Return the network for training: its first blocks frozen, styles mixed after some, dropout .3."""
    model = model.to(memory_format=torch.channels_last).train()
    for name, module in model.named_modules():
        inner = name.removeprefix("encoder.")
        if inner in _FROZEN:
            module.requires_grad_(False)
            module.eval()
        if inner in _MIXED_AFTER:
            module.register_forward_hook(_mix_styles)
        if isinstance(module, nn.Dropout):
            module.p = 0.3
    return model


def _mix_styles(module: nn.Module, inputs: Any, x: torch.Tensor) -> torch.Tensor:
    """Mix the means and spreads of channels between pairs (MixStyle, arXiv:2104.02008), 2 times of 5.

    Both images of a pair get the same partner and the same weight, so that they stay alike.
    """
    if not torch.is_grad_enabled() or torch.rand(()) > 0.4:
        return x
    count = len(x) // 2
    order = torch.randperm(count)
    order = torch.cat([order, order + count])
    fraction = torch.distributions.Beta(0.2, 0.2).sample((count,)).repeat(2).view(-1, 1, 1, 1)
    with torch.no_grad():
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), keepdim=True)
        spread = (variance + 1e-6).sqrt()
        gain = (fraction * spread + (1 - fraction) * spread[order]) / spread
        offset = fraction * mean + (1 - fraction) * mean[order] - mean * gain
    return x * gain.to(x.dtype) + offset.to(x.dtype)


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the trained parameters: weights decay, biases and batch norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": 0.1},
        {"params": [one for one in trained if one.ndim == 1], "weight_decay": 0.0},
    ]


def _rate_at(step: int, num_steps: int) -> float:
    """Return the fraction of the learning rate: a warm-up, then half a cosine to the floor."""
    cosine = (1 + torch.cos(torch.tensor(torch.pi * step / num_steps)).item()) / 2
    return min(1, (step + 1) / _WARM_UP) * (_FLOOR + (1 - _FLOOR) * cosine)


def _loss(model: nn.Module, teacher: nn.Module, images: torch.Tensor, kinds: Sequence[str]) -> torch.Tensor:
    """Return cross-entropy, plus that a fake ranks above its real.

    DFDC's targets are half the teacher's probabilities, so that what it knows stays; those of pairs
    without traces are one half.
    """
    inputs = (
        images.permute(0, 3, 1, 2)
        .float()
        .sub_(127.5)
        .div_(127.5)
        .contiguous(memory_format=torch.channels_last)
    )
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(inputs).float().reshape(-1)
    count = len(kinds)
    targets = torch.cat([torch.zeros(count), torch.ones(count)]) * (1 - 2 * _SMOOTHING) + _SMOOTHING
    is_dfdc, is_traceless = (torch.tensor([kind == one for kind in kinds]) for one in (data.DFDC, TRACELESS))
    twice = is_dfdc.repeat(2)
    if twice.any():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            taught = torch.sigmoid(teacher(inputs[twice]).float().reshape(-1) / _TEACHER_TEMPERATURE)
        targets[twice] = (1 - _TEACHING) * targets[twice] + _TEACHING * taught
    targets[is_traceless.repeat(2)] = 0.5
    ranking = F.softplus(logits[:count] - logits[count:])[~is_traceless].mean()
    return F.binary_cross_entropy_with_logits(logits, targets) + _RANKING * ranking


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    sys.exit(main())
