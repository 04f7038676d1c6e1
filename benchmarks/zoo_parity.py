"""Whether the zoo's networks and crops are those of their authors, by the authors' own code.

    python benchmarks/zoo_parity.py CLIP ... --authors NAME=FOLDER ... [--packages FOLDER] [--only ENTRY ...]
        [--json FILE] [--keys tests/models/published_keys.json]

NAME=FOLDER is a checkout of the authors' code, which is run and never copied: --list shows the names.
For every network whose code is there, the authors' network is built with random weights (scaled so that
signals neither fade nor explode) and random statistics of its batch normalizations, its state dict is
saved as the authors save it, the file is converted as ``zoo fetch`` converts it, and both networks score
the same face crops of the clips. The difference of their logits (fake over real) is to be
1e-5 or less, in float32. Crops: the authors' cutting and resizing of one face against ours, in levels of 0
to 255, with the same box and landmarks given to both.

--packages is a folder of packages that only the authors' code needs, such as
``pip install --target FOLDER --no-deps efficientnet_pytorch transformers tokenizers peft``. Each network is
compared in a process of its own, since the authors' modules have the same names. --keys writes the names and
shapes in the authors' files instead, from which the tests build such files without their code.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from zoo_authors import CASES, Case  # noqa: E402
from zoo_authors.keys import grouped  # noqa: E402
from zoo_authors.random_weights import randomize  # noqa: E402

from benchmarks.measuring import add_json_option, record  # noqa: E402
from deepfake_detect.data.transforms import crops_to_tensor, resize_crop  # noqa: E402
from deepfake_detect.faces import crop_face, detect_faces  # noqa: E402
from deepfake_detect.models.zoo.convert import convert_entry  # noqa: E402
from deepfake_detect.models.zoo.entries import ZOO  # noqa: E402
from deepfake_detect.records import Face  # noqa: E402
from deepfake_detect.video import EvenlySpaced, read_frames  # noqa: E402

TOLERANCE = 1e-5
Result = TypeVar("Result")
_FRAMES = 2  # of each clip


@dataclass(frozen=True)
class Parity:
    """How far a network is from its authors' code.

    Attributes:
        entry: Name of a detector in the zoo; others of the same network differ in weights alone.
        authors: Name of the checkout.
        num_crops: Face crops scored by both.
        logit_difference: Greatest difference of a logit.
        logit_spread: Greatest logit minus the least, which shows that the logits depend on the crops.
        pixel_mean, pixel_max: Differences of one crop, cut and resized by both; ``None`` where the authors
            publish no cutting.
        remark: What was compared with what.
    """

    entry: str
    authors: str
    num_crops: int
    logit_difference: float
    logit_spread: float
    pixel_mean: float | None
    pixel_max: float | None
    remark: str


def main(argv: list[str] | None = None) -> int:
    """Compare the entries whose authors' code is there; return 1 if one is further than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="*", help="videos with one face each")
    parser.add_argument("--authors", nargs="+", default=[], metavar="NAME=FOLDER", help="the authors' code")
    parser.add_argument("--packages", type=Path, help="packages that only the authors' code needs")
    parser.add_argument("--only", nargs="+", metavar="ENTRY", help="compare these entries only")
    parser.add_argument("--list", action="store_true", help="list entries and names of checkouts")
    add_json_option(parser, "zoo_parity")
    parser.add_argument("--keys", type=Path, help="write names and shapes of tensors, and compare nothing")
    arguments = parser.parse_args(argv)
    if arguments.list:
        for case in CASES:
            print(f"{case.entry}: {case.authors}")
        return 0
    folders = {name: Path(folder) for name, folder in (pair.split("=", 1) for pair in arguments.authors)}
    chosen = [case for case in CASES if case.authors in folders]
    chosen = [case for case in chosen if arguments.only is None or case.entry in arguments.only]
    if arguments.keys:
        _write_keys(chosen, folders, arguments.packages, arguments.keys)
        return 0
    results = []
    for case in chosen:
        found = apart(compare, case.entry, folders[case.authors], arguments.clips, arguments.packages)
        print(found, flush=True)
        results.append(found)
    record(
        "zoo_parity", arguments, {"rows": _with_known(results, arguments.json)}, packages=("torch", "timm")
    )
    return int(any(one.logit_difference > TOLERANCE for one in results))


def apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Return what a function returns in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def _write_keys(chosen: Sequence[Case], folders: dict[str, Path], packages: Path | None, path: Path) -> None:
    """Add the names of the tensors in files of each layout to those of a file."""
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for case in {ZOO[case.entry].network: case for case in reversed(chosen)}.values():
        known[ZOO[case.entry].network] = apart(keys_of, case.entry, folders[case.authors], packages)
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")


def keys_of(entry_name: str, folder: Path, packages: Path | None) -> dict[str, str]:
    """Return names and shapes of the tensors in an entry's file, see ``zoo_authors.keys``."""
    if packages is not None:
        sys.path.insert(0, str(packages))
    case = next(case for case in CASES if case.entry == entry_name)
    content = case.contents(case.build(folder), len(ZOO[entry_name].files))[0]
    wrapped = [one for one in content.values() if isinstance(one, dict) and one]
    state = max(wrapped, key=len, default=content)
    names = [name for name in state if not (case.timm_prefix and name.startswith(case.timm_prefix))]
    return grouped({name: tuple(state[name].shape) for name in names})


def compare(entry_name: str, folder: Path, clips: Sequence[Path], packages: Path | None) -> Parity:
    """Return the parity of an entry."""
    if packages is not None:
        sys.path.insert(0, str(packages))
    case = next(case for case in CASES if case.entry == entry_name)
    entry = ZOO[entry_name]
    found = faces_of(clips)
    crops = [crop_face(image, face, entry.geometry) for face, image in found[: case.num_crops]]
    images = crops_to_tensor(crops, entry.preprocessing)
    network = case.build(folder)
    randomize(network, lambda: case.logits(network, images), seed=0)
    with torch.no_grad():
        theirs = case.logits(network.eval(), images).double().flatten()
    ours = _our_logits(case, network, images)
    difference, spread = (theirs - ours).abs().max().item(), (theirs.max() - theirs.min()).item()
    pixels = _pixel_differences(case, folder, *found[0])
    return Parity(entry_name, case.authors, len(crops), difference, spread, *pixels, case.remark)


def _our_logits(case: Case, network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Save the authors' network as they do, convert the file as ``zoo fetch`` does, and score."""
    entry = ZOO[case.entry]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}{case.suffix}" for n in range(len(entry.files))]
        for path, content in zip(paths, case.contents(network, len(paths)), strict=True):
            case.save(content, path)
        del content
        network.cpu()
        gc.collect()
        hashes = ["0" * 64] * len(paths)
        model, _ = convert_entry(entry, paths, network=entry.network, sha256=hashes)
    with torch.inference_mode():
        return model(images).double()


def faces_of(clips: Sequence[Path]) -> list[tuple[Face, np.ndarray]]:
    """Return the largest face of a few frames of each clip, in turn, with the frame."""
    sampled = [[one.image for one in read_frames(clip, sampling=EvenlySpaced(_FRAMES))] for clip in clips]
    images = [image for images in zip(*sampled, strict=False) for image in images]
    found = detect_faces(images, device="cpu")
    pairs = [(max(faces, key=_area), image) for faces, image in zip(found, images, strict=True) if faces]
    if len(pairs) < 2:
        raise SystemExit("the clips show fewer than 2 faces; pass clips with a face")
    return pairs


def _area(face: Face) -> float:
    left, top, right, bottom = face.box_xyxy
    return float((right - left) * (bottom - top))


def _pixel_differences(
    case: Case, folder: Path, face: Face, image: np.ndarray
) -> tuple[float | None, float | None]:
    """Return mean and greatest difference of a crop cut and resized by the authors' code and by ours."""
    if case.crop is None:
        return None, None
    entry = ZOO[case.entry]
    theirs = case.crop(folder, image, face).astype(np.float64)
    ours = resize_crop(crop_face(image, face, entry.geometry), entry.preprocessing).astype(np.float64)
    difference = np.abs(theirs - ours)
    return float(difference.mean()), float(difference.max())


def _with_known(results: Sequence[Parity], path: Path) -> list[dict[str, Any]]:
    """Return the figures of a file with new ones added, in the order of the cases."""
    stored = json.loads(path.read_text("utf-8"))["figures"]["rows"] if path.is_file() else []
    known = {one["entry"]: one for one in stored}
    known |= {one.entry: {**asdict(one), "date": str(date.today())} for one in results}
    return [known[case.entry] for case in CASES if case.entry in known]


if __name__ == "__main__":
    raise SystemExit(main())
