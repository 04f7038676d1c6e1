"""Anybody's checkpoint -> a detector file: its network is recognized, what it cannot tell is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect._version import __version__
from deepfake_detect.errors import CheckpointError, OptionError, WeightsError
from deepfake_detect.extras import is_installed, missing_library
from deepfake_detect.io.files import cache_folder, sha256_of_file
from deepfake_detect.models.config import DetectorConfig, PublishedFacts, TrainingFacts
from deepfake_detect.models.options import Activation, ConversionOptions
from deepfake_detect.models.spec import DETECTOR_FORMAT
from deepfake_detect.models.zoo.entries import ZOO
from deepfake_detect.models.zoo.entry import ZooEntry
from deepfake_detect.options import check_options
from deepfake_detect.records import CropGeometry, Preprocessing

if TYPE_CHECKING:
    from deepfake_detect.models.recognition import Recognized

_FACENET = "facenet"
_VERSION = "converted"
_LARGEST_NAME = 80
_NORMALIZATION = ("mean", "std")
_FOREIGN_STARTS = (b"PK\x03\x04", b"\x80", b"\x89HDF")  # of torch.save, before and since 1.6, and HDF5
_EXPORTS = (".onnx", ".xml")
_LARGEST_HEADER = 100 * 2**20
_CONVERT = "deepfake-detect convert-checkpoint"


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """What :func:`convert_checkpoint` wrote.

    Attributes:
        path: The safetensors file.
        network: Backbone, or layout of a published network.
        num_tensors: Tensors in it.
        is_detector: Whether it is a detector; else it holds weights for ``create_model`` and training.
        embedding_size: Features of a FaceNet that was converted into weights; else ``None``.
        dropped: What of the checkpoint scoring does not use.
        assumed: What the checkpoint does not say and was taken to be so, in words.
    """

    path: Path
    network: str
    num_tensors: int
    is_detector: bool = False
    embedding_size: int | None = None
    dropped: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def convert_checkpoint(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    network: str | None = ConversionOptions.network,
    fake_class: int | None = ConversionOptions.fake_class,
    mean: tuple[float, ...] | None = ConversionOptions.mean,
    std: tuple[float, ...] | None = ConversionOptions.std,
    image_size: int | None = ConversionOptions.image_size,
    margin: float | None = ConversionOptions.margin,
    activation: Activation | None = ConversionOptions.activation,
    drop: tuple[str, ...] = ConversionOptions.drop,
) -> ConvertedCheckpoint:
    """Convert a checkpoint of another library into a detector, which is not calibrated.

    Nothing is unpickled. Names may have prefixes (``module.``, ``net.``), the state dict may be inside a
    training's checkpoint, and the last layer may have one output, or two whose difference is the logit.
    For files of published detectors in the zoo, everything is known; for others, you must pass what the
    file does not contain.
    FaceNets of TensorFlow and Keras, which have no such layer, become weights for ``create_model``.

    Args:
        checkpoint: ``.pth``, ``.pt``, ``.bin``, ``.ckpt`` and others of torch, ``.safetensors``, ``.h5`` of
            Keras, or a frozen ``.pb`` graph of FaceNet.
        out: ``.safetensors`` file to write.
        network: What the checkpoint holds: a backbone as for ``create_model``, or a layout of
            ``models.published.LAYOUTS``; recognized by its names and shapes when ``None``.
        fake_class: Which class means fake, 0 or 1. With one output: 1 if a high one means fake, 0 if it
            means real.
        mean, std: Normalization that the network was trained with, one or three numbers in units of the
            [0, 1] range.
        image_size: Side of its input in pixels; the backbone's own when ``None``.
        margin: Side of the face crop divided by that of the face box; 1.3 when ``None``.
        activation: ``"relu"`` or ``"none"`` between a FaceNet and its last layer, where names do not tell.
        drop: Beginnings of names of tensors that scoring does not use.

    Raises:
        OptionError: Something the checkpoint does not say is missing, an option is out of range, or ``out``
            is no ``.safetensors``.
        WeightsError: The checkpoint cannot be read safely, or does not hold the network.
        OutputError: ``out`` cannot be written.

    Example:
        >>> import tempfile, timm, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> theirs = timm.create_model("test_resnet", num_classes=2)
        >>> torch.save({"state_dict": theirs.state_dict(), "epoch": 3}, folder / "best.pth")
        >>> done = convert_checkpoint(
        ...     folder / "best.pth", folder / "detector.safetensors", network="test_resnet", fake_class=1,
        ...     mean=(0.5,), std=(0.5,),
        ... )
        >>> done.is_detector, done.dropped
        (True, ('epoch',))
    """
    options = ConversionOptions(network, fake_class, mean, std, image_size, margin, activation, drop)
    check_options(options)
    source, target = Path(checkpoint), Path(out)
    if target.suffix != ".safetensors":
        raise OptionError("out", f"is {str(target)!r}", "must end in .safetensors")
    if not source.is_file():
        raise WeightsError(source, "there is no such file", "check the path of the weights")
    from deepfake_detect.models import facenet_files

    if facenet_files.is_embedding(source):
        if options.network not in (None, _FACENET):
            raise OptionError("network", f"is {options.network}, and {source} contains FaceNet", "omit it")
        num_tensors, size = facenet_files.write_embedding(source, target)
        return ConvertedCheckpoint(target, _FACENET, num_tensors, embedding_size=size)
    return _write_detector(source, target, options)


def is_foreign(path: Path) -> bool:
    """Return whether a file is a checkpoint of another library, by its first bytes."""
    if not path.is_file() or path.suffix in _EXPORTS:
        return False
    with open(path, "rb") as file:
        start = file.read(8)
        if path.suffix != ".safetensors":
            return start.startswith(_FOREIGN_STARTS)
        size = int.from_bytes(start, "little")
        header = file.read(size) if size < _LARGEST_HEADER else b""
    try:
        return bool(json.loads(header).get("__metadata__", {}).get("format") != DETECTOR_FORMAT)
    except (ValueError, AttributeError, RecursionError):  # damaged, which its reader says
        return False


def converted_detector(checkpoint: Path) -> Path:
    """Return a published detector's checkpoint as a detector file, written once into the cache folder.

    Raises:
        CheckpointError: The checkpoint cannot be read, or does not say all that scoring needs.
        OptionError: PyTorch is not installed.
    """
    folder = cache_folder() / "converted" / f"{sha256_of_file(checkpoint)[:32]}-{__version__}"
    target = folder / f"{_name_of(checkpoint)}.safetensors"
    if target.is_file():
        return target
    if not is_installed("torch"):
        raise missing_library("detector", "torch")
    try:
        return convert_checkpoint(checkpoint, target).path
    except OptionError as error:
        cause = f"is a checkpoint of another library: {error.subject} {error.cause}"
        remedy = f"make a detector of it first: convert_checkpoint, or {_CONVERT}, takes what is missing"
        raise CheckpointError(checkpoint, cause, remedy) from error
    except WeightsError as error:
        raise CheckpointError(checkpoint, error.cause, error.remedy) from error


def _write_detector(source: Path, target: Path, options: ConversionOptions) -> ConvertedCheckpoint:
    from deepfake_detect.models.checkpoint import save_detector
    from deepfake_detect.models.recognition import read_foreign, recognize

    state, hints = read_foreign(source)
    try:
        found = recognize(state.tensors, options)
    except WeightsError as error:
        raise WeightsError(source, f"its tensors {error.cause}", error.remedy) from error
    use = _use_of(source, found, options, hints)
    model = found.build(use.preprocessing, is_fake_positive=use.fake_class == 1)
    config = DetectorConfig(
        name=_name_of(source),
        version=_VERSION,
        model=model.spec,
        geometry=use.geometry,
        aggregation_rule=use.aggregation_rule,
        training=TrainingFacts(published=use.published),
        is_calibrated=False,
    )
    save_detector(target, model, config)
    return ConvertedCheckpoint(
        target,
        found.layout or found.spec.backbone,
        len(model.state_dict()),
        is_detector=True,
        dropped=(*state.left_out, *found.dropped),
        assumed=(*found.assumed, *use.assumed),
    )


@dataclass(frozen=True)
class _Use:
    """How a network is used, which its tensors cannot tell.

    Attributes:
        fake_class: Class that means fake.
        preprocessing, geometry, aggregation_rule: As of a detector.
        published: Where it is from, where the file is known by its hash.
        assumed: What was not told, in words.
    """

    fake_class: int
    preprocessing: Preprocessing
    geometry: CropGeometry
    aggregation_rule: str = "mean"
    published: PublishedFacts | None = None
    assumed: tuple[str, ...] = ()


def _use_of(source: Path, found: Recognized, options: ConversionOptions, hints: Mapping[str, Any]) -> _Use:
    """Return the use that options and metadata tell, and an entry of the zoo whose layout the file has.

    Raises:
        OptionError: None of them tells the polarity or the normalization, or it makes no sense.
    """
    same_layout = [one for one in ZOO.values() if one.network == found.layout and not one.refused]
    if same_layout:
        return _use_of_entry(source, same_layout, options)
    _check_told(source, found, options, hints)
    assert options.fake_class is not None
    usual, assumed = found.spec.preprocessing, []
    size = options.image_size or hints.get("image_size")
    if size is None:
        size = usual.image_size
        assumed.append(f"an input of {size} x {size} pixels")
    if options.margin is None:
        assumed.append(f"crops of {CropGeometry().margin:g} times the face box")
    mean, std = (_three(name, getattr(options, name) or hints[name]) for name in _NORMALIZATION)
    geometry = CropGeometry(options.margin or CropGeometry().margin)
    return _Use(options.fake_class, Preprocessing(size, mean, std), geometry, assumed=tuple(assumed))


def _use_of_entry(source: Path, entries: Sequence[ZooEntry], options: ConversionOptions) -> _Use:
    """Return the use of an entry of the zoo, with what options tell otherwise."""
    sha256 = sha256_of_file(source)
    known = next((one for one in entries if any(file.sha256 == sha256 for file in one.files)), None)
    entry = known or entries[0]
    words = f"polarity, normalization and crops of zoo:{entry.name}, whose layout it has"
    if known is None and entry.is_noncommercial:
        words += f" (the license of the authors' weights: {entry.license})"
    given = {name: value for name in _NORMALIZATION if (value := getattr(options, name)) is not None}
    told: dict[str, Any] = {name: _three(name, value) for name, value in given.items()}
    size = options.image_size or entry.preprocessing.image_size
    fake_class = options.fake_class if options.fake_class is not None else int(entry.polarity == "fake")
    return _Use(
        fake_class,
        replace(entry.preprocessing, image_size=size, **told),
        replace(entry.geometry, margin=options.margin or entry.geometry.margin),
        entry.aggregation_rule,
        PublishedFacts(entry.name, entry.repository, entry.license, (sha256,)) if known else None,
        () if known else (words,),
    )


def _check_told(
    source: Path, found: Recognized, options: ConversionOptions, hints: Mapping[str, Any]
) -> None:
    """Check that all is known that the file cannot tell."""
    needed = ["fake_class", *(name for name in _NORMALIZATION if name not in hints)]
    missing = [name for name in needed if getattr(options, name) is None]
    if not missing:
        return
    usual, outputs = found.spec.preprocessing, "one output" if found.num_outputs == 1 else "two outputs"
    others = " and ".join(f"`{name}`" for name in missing[1:])
    also = f", and so {'are' if missing[2:] else 'is'} {others}" if others else ""
    cause = (
        f"is missing{also}: {source.name} contains {found.spec.backbone} with {outputs} and does not specify "
        "it"
    )
    remedies = []
    if "fake_class" in missing:
        remedies.append("pass the class that means fake, 0 or 1 (of one output: 1 if a high one means fake)")
    if set(missing) & set(_NORMALIZATION):
        published = f"the backbone was published with {_numbers(usual.mean)} and {_numbers(usual.std)}"
        remedies.append(f"pass the mean and std that it was trained with ({published})")
    raise OptionError(missing[0], cause, ", and ".join(remedies))


def _three(option: str, values: tuple[float, ...]) -> tuple[float, float, float]:
    """Return one number for each color."""
    if len(values) not in (1, 3):
        raise OptionError(option, f"has {len(values)} numbers", "pass one, or one for each of RGB")
    red, green, blue = tuple(values) * (3 // len(values))
    return red, green, blue


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _name_of(source: Path) -> str:
    """Return the name of a detector of a file: the file's own, as far as it can be printed."""
    return "".join(letter for letter in source.stem if letter.isprintable())[:_LARGEST_NAME] or "detector"
