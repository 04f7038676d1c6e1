"""Show which regions of a face a detector's score depends on.

Reads clips and images (and detects their faces), images that are already face crops (--crops), or a
manifest. Writes heat_maps.png (each crop next to its overlay) and heat_maps.npz. Each map is scaled to
its own crop: red marks its strongest position, however weak.
A sequence model reads the crops of one person in order, and each map shows the evidence in its crop for
the probability of the whole sequence.
With --check-randomization it also reports whether the maps change when the network's weights do, and
writes randomization.json: maps that do not change do not show what the network learned.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.explanation.options import ExplainOptions
from deepfake_detect.plurals import counted

if TYPE_CHECKING:
    from deepfake_detect.explanation.randomize import RandomizationCheck


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="clips, or images with faces")
    parser.add_argument(
        "--crops", nargs="+", type=Path, default=[], metavar="FILE", help="images that are face crops"
    )
    parser.add_argument("--manifest", type=Path, help="manifest.parquet to sample crops from")
    parser.add_argument("--split", default="all", help="split of the manifest (default: all)")
    parser.add_argument("--where", metavar="EXPR", help="SQL condition on the manifest's rows")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--detector", metavar="PATH", help="detector.safetensors (default: the bundled one)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add_options(parser, ExplainOptions)


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect import explain
    from deepfake_detect.scoring.explain import MAX_PEOPLE

    explained = explain(**keywords_of(arguments, ExplainOptions))
    for clip, num_people in explained.num_left_out.items():
        print(f"{clip}: {num_people + MAX_PEOPLE} people; showing the {MAX_PEOPLE} most visible")
    sheet = arguments.out / "heat_maps.png"
    note(f"wrote {sheet} ({counted(len(explained.crops), 'crop')}) and {sheet.with_suffix('.npz')}")
    if explained.num_empty:
        print(
            f"empty: {counted(explained.num_empty, 'map')}, because nothing in these crops is evidence for "
            "the target"
        )
    if explained.randomization is not None:
        _print_check(explained.randomization)
    return 0


def _print_check(check: RandomizationCheck) -> None:
    from deepfake_detect.explanation.randomize import CHANGED_BELOW
    from deepfake_detect.report.terminal import print_table

    rows = [(one.layer, f"{one.mean:.2f}", f"{one.lowest:.2f}", f"{one.highest:.2f}") for one in check.layers]
    title = f"rank correlation of {check.num_images} maps with those of the trained network"
    print_table(
        title,
        ["block, randomized with all after it", "mean", "lowest", "highest"],
        [*rows, None, ("all", f"{check.mean:.2f}")],
    )
    verdict = "changed: they depend on" if check.maps_changed else "did NOT change: they do not show"
    print(f"the maps {verdict} what the network learned (limit {CHANGED_BELOW})")
