"""Show where in a face a detector finds its evidence.

Reads clips and pictures (faces are found in them), pictures that are crops already (--crops), or a
manifest. Leaves heat_maps.png (each crop beside its overlay) and heat_maps.npz. Each map is scaled to
its own crop: red is its strongest place, however weak.
A detector of sequences is shown the crops of one person in order, and each map tells what in that crop
speaks for the probability of the whole.
With --check-randomization it also says whether the maps change when the network's weights do, and
leaves randomization.json: maps that stay as they are say nothing about what it learned.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import OptionError
from deepfake_detect.explanation.options import METHODS

if TYPE_CHECKING:
    from deepfake_detect.explanation.crops import Explanation
    from deepfake_detect.explanation.sources import PersonCrops, SourceCrop
    from deepfake_detect.scoring import Detector

_MOST_PEOPLE = 3  # of a clip
_MOST_CHECKED = 16  # crops whose maps are compared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="clips, or pictures with faces")
    parser.add_argument(
        "--crops", nargs="+", type=Path, default=[], metavar="FILE", help="pictures that are face crops"
    )
    parser.add_argument("--manifest", type=Path, help="manifest.parquet to draw crops from")
    parser.add_argument("--split", default="all", help="of the manifest (default all)")
    parser.add_argument("--where", metavar="EXPR", help="condition that its rows fulfil")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--detector", metavar="PATH", help="detector.safetensors (default: the bundled one)")
    parser.add_argument(
        "--method", choices=METHODS, default="gradcam", help="(default gradcam; scorecam is slow)"
    )
    parser.add_argument(
        "--target", choices=("fake", "real"), default="fake", help="what the evidence is for (default fake)"
    )
    parser.add_argument("--layer", metavar="NAME", help="layer whose maps are weighed (default: the last)")
    parser.add_argument(
        "--frames", type=int, default=6, help="evenly spaced frames of each clip to look at (default 6)"
    )
    parser.add_argument("--videos", type=int, default=12, help="videos of a manifest (default 12)")
    parser.add_argument("--alpha", type=float, default=0.45, help="share of the map's colors, 0 to 1")
    parser.add_argument(
        "--check-randomization", action="store_true", help="see whether the maps depend on the weights"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw and the randomizing (default 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.explanation.crops import explain_crops
    from deepfake_detect.explanation.heat_maps import check_alpha
    from deepfake_detect.io.files import make_folder
    from deepfake_detect.scoring import load_detector

    for name in ("frames", "videos"):
        if getattr(arguments, name) < 1:
            raise OptionError(name, f"is {getattr(arguments, name)}", "pass 1 or more")
    if not arguments.clips and not arguments.crops and arguments.manifest is None:
        raise OptionError("input", "is none", "pass clips or pictures, --crops or --manifest")
    check_alpha(arguments.alpha)
    detector = load_detector(arguments.detector, runtime="torch", device=arguments.device)
    make_folder(arguments.out)
    people = _people(detector, arguments)
    # Single crops of all people go through the network together; a sequence is one person's.
    groups = people if detector.is_sequential else [[crop for person in people for crop in person]]
    options: dict[str, Any] = {name: getattr(arguments, name) for name in ("method", "layer", "target")}
    shown = [
        (group[one.position], one)
        for group in groups
        for one in explain_crops(detector, [crop.picture for crop in group], alpha=arguments.alpha, **options)
    ]
    _leave(arguments, detector, shown)
    if arguments.check_randomization:
        _check(arguments, detector, groups[0], options)
    return 0


def _people(detector: Detector, arguments: argparse.Namespace) -> list[PersonCrops]:
    """Return the crops to explain, person by person."""
    from deepfake_detect.data.manifest import read_manifest
    from deepfake_detect.explanation.sources import SourceCrop, crops_of_clip, crops_of_manifest, picture_of

    geometry = detector.config.geometry
    people = [[SourceCrop(picture_of(path), path.name)] for path in arguments.crops]
    for clip in arguments.clips:
        found = crops_of_clip(clip, geometry=geometry, num_frames=arguments.frames, device=detector.device)
        if len(found) > _MOST_PEOPLE:
            print(f"{clip}: {len(found)} people, of whom the {_MOST_PEOPLE} seen most are shown")
        people += found[:_MOST_PEOPLE]
    if arguments.manifest is not None:
        rows = read_manifest(arguments.manifest).split(arguments.split)
        rows = rows if arguments.where is None else rows.where(arguments.where)
        sequence = detector.config.model.sequence
        per_video = 1 if sequence is None else sequence.num_frames
        people += crops_of_manifest(
            rows,
            geometry=geometry,
            num_videos=arguments.videos,
            per_video=per_video,
            seed=arguments.seed,
        )
    return people


def _leave(
    arguments: argparse.Namespace, detector: Detector, shown: list[tuple[SourceCrop, Explanation]]
) -> None:
    """Write the sheet and the maps."""
    import numpy as np

    from deepfake_detect.io.files import atomic_path
    from deepfake_detect.report.explain import save_heat_map_sheet

    crops, found = zip(*shown, strict=True)
    config = detector.config
    what = f"evidence for {arguments.target} by {arguments.method}, {config.name} {config.version}"
    title = f"{what}; each map relative to its own strongest place"
    sheet = arguments.out / "heat_maps.png"
    save_heat_map_sheet(
        found, [crop.name for crop in crops], [crop.label for crop in crops], sheet, title=title
    )
    with atomic_path(arguments.out / "heat_maps.npz") as temporary:
        np.savez_compressed(
            temporary,
            heat_maps=np.stack([one.heat_map for one in found]),
            fake_probability=np.array([one.fake_probability for one in found]),
            names=np.array([crop.name for crop in crops]),
            labels=np.array([-1 if crop.label is None else crop.label for crop in crops]),
        )
    print(f"wrote {sheet} ({len(found)} crops) and {sheet.with_suffix('.npz')}")
    if num_empty := sum(not one.heat_map.any() for one in found):
        print(f"{num_empty} of the maps are empty: nothing in these crops speaks for {arguments.target}")


def _check(
    arguments: argparse.Namespace, detector: Detector, crops: PersonCrops, options: dict[str, Any]
) -> None:
    """Say whether maps depend on weights, and write what was measured."""
    from deepfake_detect.explanation.crops import crop_tensors
    from deepfake_detect.explanation.randomize import CHANGED_BELOW, randomization_check
    from deepfake_detect.io.files import write_json

    _, images = crop_tensors(detector, [crop.picture for crop in crops[:_MOST_CHECKED]])
    check = randomization_check(detector.model, images, seed=arguments.seed, **options)
    print(f"rank correlation of {check.num_images} maps with those of the trained network, once randomized:")
    print(f"  {'block (and all behind it)':<28} {'mean':>6} {'lowest':>7} {'highest':>8}")
    for one in check.layers:
        print(f"  {one.layer:<28} {one.mean:6.2f} {one.lowest:7.2f} {one.highest:8.2f}")
    print(f"  {'mean of all':<28} {check.mean:6.2f}")
    verdict = "changed: they depend on" if check.maps_changed else "did NOT change: they do not show"
    print(f"the maps {verdict} what the network learned (bound {CHANGED_BELOW})")
    write_json(
        arguments.out / "randomization.json",
        {**asdict(check), "mean": check.mean, "maps_changed": check.maps_changed},
    )
