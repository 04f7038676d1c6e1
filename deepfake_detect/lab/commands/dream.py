"""Deep Dream: change a picture until chosen layers of a network answer to it more strongly.

    deepfake-detect dream --backbone vgg16 --weights imagenet \
        --layers block2_conv2=1,block5_conv1=1.5 --image photo.jpg --out dream

Leaves dream.png, dream.mp4 (the way there) and dream.json. A wrong layer's message names the layers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import OptionError
from deepfake_detect.lab.dream_options import DreamOptions

if TYPE_CHECKING:
    from deepfake_detect.lab.dream import DreamResult
    from deepfake_detect.models.classifier import ForgeryClassifier

_NUMBERS = {
    "octaves": "sizes at which the picture is changed, from small to large",
    "octave_scale": "ratio of two sizes",
    "steps": "steps at each size",
    "rate": "mean change of a value, of the range 0 to 1, by a step",
    "jitter": "pixels by which the picture is moved at most before a step",
    "total_variation": "weight of the continuity term",
    "l2": "weight of the pull to mid gray",
    "frame_every": "steps between two frames of the film, 0 for none",
    "seed": "of noise, jitter and random weights",
}
_FRAMES_PER_SECOND = 12
_RANDOM = "random"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--backbone", metavar="NAME", help="such as vgg16; with --weights")
    whose.add_argument("--detector", type=Path, metavar="FILE", help="detector.safetensors")
    parser.add_argument("--weights", metavar="PATH|NAME|random", help="of the backbone, as for train; random")
    parser.add_argument("--layers", required=True, metavar="NAME=WEIGHT,...", help="layers that shall rise")
    parser.add_argument("--image", type=Path, metavar="FILE", help="where to start (default: noise)")
    parser.add_argument("--longest-side", type=int, default=384, help="of the result in pixels (default 384)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    for name, text in _NUMBERS.items():
        default = DreamOptions.__dataclass_fields__[name].default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(default),
            default=default,
            help=f"{text} (default {default:g})",
        )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.device import choose_device
    from deepfake_detect.explanation.sources import first_image
    from deepfake_detect.io.files import make_folder
    from deepfake_detect.lab.dream import dream

    layers = _parse_layers(arguments.layers)
    options = {name: getattr(arguments, name) for name in _NUMBERS}
    DreamOptions(**options)
    device = choose_device(arguments.device)
    image = None if arguments.image is None else first_image(arguments.image)
    model = _network(arguments).to(device)
    make_folder(arguments.out)
    size = _size(arguments, None if image is None else image.shape[:2])
    result = dream(model, layers=layers, image=image, size=size, **options)
    names = ("backbone", "weights", "detector")
    network = {name: str(value) for name in names if (value := getattr(arguments, name)) is not None}
    _leave(arguments, result, {**network, "layers": layers, **options, "size": size})
    return 0


def _parse_layers(text: str) -> dict[str, float]:
    """Return the weight of each layer of ``name=weight,name=weight``; a weight left out is 1."""
    layers: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            number = float(weight or 1)
        except ValueError as error:
            raise OptionError("--layers", f"{part!r} has no number", "write name=weight,...") from error
        if name.strip() in layers:
            raise OptionError("--layers", f"names {name.strip()} twice", "give each layer one weight")
        layers[name.strip()] = number
    return layers


def _network(arguments: argparse.Namespace) -> ForgeryClassifier:
    import torch

    from deepfake_detect.lab.networks import detector_network
    from deepfake_detect.models.classifier import create_model

    if arguments.detector is not None:
        if arguments.weights is not None:
            raise OptionError("--weights", "are the detector's own", "leave them out, or pass --backbone")
        return detector_network(arguments.detector).model
    if arguments.weights is None:
        cause = "are not told"
        raise OptionError(
            "--weights", cause, "pass a path, a published name, or random to see structure alone"
        )
    torch.manual_seed(arguments.seed)
    weights = None if arguments.weights == _RANDOM else arguments.weights
    return create_model(arguments.backbone, weights=weights).eval()


def _size(arguments: argparse.Namespace, of_image: tuple[int, ...] | None) -> tuple[int, int]:
    """Return height and width of the result: never larger than the image, a square without one."""
    longest = arguments.longest_side
    if longest < 1:
        raise OptionError("longest-side", f"is {longest}", "pass 1 pixel or more")
    if of_image is None:
        return longest, longest
    share = min(1.0, longest / max(of_image))
    return max(1, round(of_image[0] * share)), max(1, round(of_image[1] * share))


def _leave(arguments: argparse.Namespace, result: DreamResult, options: dict[str, Any]) -> None:
    from deepfake_detect.data.sheets import save_image
    from deepfake_detect.io.files import write_json
    from deepfake_detect.video import VideoWriter

    out: Path = arguments.out
    save_image(out / "dream.png", result.image)
    written = [out / "dream.png"]
    if result.frames:
        height, width = result.image.shape[:2]
        with VideoWriter(
            out / "dream.mp4", width=width, height=height, frames_per_second=_FRAMES_PER_SECOND
        ) as writer:
            for frame in result.frames:
                writer.write(frame)
        written.append(out / "dream.mp4")
    answers = {name: {"start": start, "end": end} for name, (start, end) in result.answers.items()}
    write_json(out / "dream.json", {"options": options, "mean_square_of_outputs": answers})
    for name, (start, end) in result.answers.items():
        print(f"{name}: mean square of its output {start:.4g} at the start, {end:.4g} at the end")
    print(f"wrote {', '.join(map(str, written))}")
