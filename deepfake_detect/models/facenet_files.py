"""FaceNets published for Keras and TensorFlow, with the tensor names of facenet-pytorch.

Both name layers as TF-Slim's Inception-ResNet-v1 does. A frozen TensorFlow graph has each batch
normalization folded into the convolution before it; here such a layer gets a neutral normalization.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from deepfake_detect.errors import WeightsError
from deepfake_detect.io.files import atomic_path, make_folder, sha256_of_file

_EPSILON = 1e-3  # of every batch normalization of the network
_BLOCKS = {
    "Block35": "repeat_1",
    "Block17": "repeat_2",
    "Block8": "repeat_3",
    "6a": "mixed_6a",
    "7a": "mixed_7a",
}
_NUM_BLOCK8 = 5  # a sixth one stands alone, as "block8"

_Layer = dict[str, np.ndarray]
"""``kernel`` (O, I, H, W) or (O, I); also ``bias``, ``beta``, ``mean`` or ``variance`` (O,)."""


def is_embedding(path: Path) -> bool:
    """Return whether a file is a FaceNet of TensorFlow or Keras, by its suffix and the names in it."""
    if path.suffix not in (".h5", ".hdf5"):
        return path.suffix == ".pb"
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names: list[str] = []
            file.visit(names.append)  # names alone, no data
    except (OSError, RuntimeError):
        return False
    return any("Block35" in name for name in names)


def write_embedding(source: Path, target: Path) -> tuple[int, int]:
    """Write a FaceNet of TensorFlow or Keras as weights of ``facenet``.

    Args:
        source: FaceNet of davidsandberg/facenet as a frozen TensorFlow graph (``.pb``) or as Keras weights
            (``.h5``), with an embedding of any size.
        target: ``.safetensors`` file. Its metadata hold the SHA-256 of ``source``.

    Returns:
        Number of tensors, and size of the embedding.

    Raises:
        WeightsError: The file cannot be read, or does not hold the whole network.
        OutputError: ``target`` cannot be written.
    """
    tensors = read_facenet(source)
    embedding_size = len(tensors.get("last_linear.weight", ()))
    expected = _expected_shapes(embedding_size)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted(dict(found.items() ^ expected.items())):
        cause = f"does not hold the whole FaceNet: {len(wrong)} tensors differ, such as {wrong[0]}"
        raise WeightsError(source, cause, "pass a FaceNet of Inception-ResNet-v1")
    make_folder(target.parent)
    metadata = {"network": "facenet", "embedding_size": str(embedding_size)}
    with atomic_path(target) as temporary:
        save_file(tensors, temporary, metadata | {"source_sha256": sha256_of_file(source)})
    return len(tensors), embedding_size


def _expected_shapes(embedding_size: int) -> dict[str, tuple[int, ...]]:
    from deepfake_detect.models.networks import FaceNet

    with torch.device("meta"):
        state = FaceNet(embedding_size)[0].state_dict()
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}


def read_facenet(path: Path) -> dict[str, torch.Tensor]:
    """Read ``.h5`` weights of Keras, or a frozen ``.pb`` graph, as a state dict of ``InceptionResnetV1``.

    Args:
        path: File of davidsandberg/facenet, or of its Keras port. Its embedding may have any size.

    Raises:
        WeightsError: The file cannot be read, or does not hold this network.
    """
    readers: dict[str, Callable[[Path], dict[str, _Layer]]] = {
        **{".h5": _keras_layers, ".hdf5": _keras_layers, ".pb": _graph_layers}
    }
    if path.suffix not in readers:
        raise WeightsError(path, f"has the suffix {path.suffix!r}", "pass a Keras .h5 or a frozen .pb graph")
    if not path.is_file():
        raise WeightsError(path, "there is no such file", "check the path of the weights")
    state: dict[str, np.ndarray] = {}
    for name, layer in readers[path.suffix](path).items():
        module = _module_of(name)
        needed = {"kernel", "bias"} if module is not None and _has_bias(module) else {"kernel"}
        if module is None or not needed <= layer.keys():
            raise WeightsError(path, f"contains {name}, which is not a FaceNet layer", "pass a FaceNet")
        state |= _tensors(module, layer)
    return {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in state.items()}


def _keras_layers(path: Path) -> dict[str, _Layer]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _read_keras(file.get("model_weights", file))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(path, f"cannot be read as Keras weights ({error})", "download it again") from error


def _read_keras(root: object) -> dict[str, _Layer]:
    layers: dict[str, _Layer] = {}

    def add(name: str, item: object) -> None:
        if not hasattr(item, "shape"):
            return
        layer, _, tensor = name.rpartition("/")
        owner = layer.rpartition("/")[2].removesuffix("_BatchNorm")
        array = np.asarray(item)
        key = tensor.removesuffix(":0").removeprefix("moving_")
        if key == "kernel":
            array = array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)
        layers.setdefault(owner, {})[key] = array

    root.visititems(add)  # type: ignore[attr-defined]
    return layers


def _graph_layers(path: Path) -> dict[str, _Layer]:
    import cv2

    try:
        network = cv2.dnn.readNetFromTensorflow(str(path))
        found = [(name, network.getLayer(network.getLayerId(name))) for name in network.getLayerNames()]
    except cv2.error as error:
        raise WeightsError(path, f"cannot be read as a graph ({error.err})", "download it again") from error
    layers: dict[str, _Layer] = {}
    for name, layer in found:
        arrays = [np.asarray(blob) for blob in layer.blobs]
        parts = name.removeprefix("InceptionResnetV1/").split("/")
        if layer.type == "BatchNorm" and parts[0] == "Bottleneck":
            mean, variance, beta = (array.reshape(-1) for array in arrays)
            layers.setdefault("Bottleneck", {}).update(mean=mean, variance=variance, beta=beta)
        elif arrays:
            owner = _slim_name(parts[:-1])
            layers.setdefault(owner, {}).update(
                kernel=arrays[0], **dict(zip(["bias"], arrays[1:], strict=False))
            )
    return layers


def _slim_name(parts: list[str]) -> str:
    """Return a layer's name in a graph as Keras writes it.

    Example:
        >>> _slim_name(["Repeat_1", "block17_3", "Branch_0", "Conv2d_1x1"])
        'Block17_3_Branch_0_Conv2d_1x1'
    """
    if parts[0].startswith("Repeat"):
        return "_".join([parts[1].capitalize(), *parts[2:]])
    return "_".join([f"Block8_{_NUM_BLOCK8 + 1}" if parts[0] == "Block8" else parts[0], *parts[1:]])


def _module_of(layer: str) -> str | None:
    """Return the name of a layer's module in facenet-pytorch, ``None`` where there is none.

    Example:
        >>> [_module_of(name) for name in ("Conv2d_4a_3x3", "Block35_2_Branch_2_Conv2d_0c_3x3")]
        ['conv2d_4a', 'repeat_1.1.branch2.2']
        >>> [_module_of(name) for name in ("Mixed_6a_Branch_1_Conv2d_1a_3x3", "Block8_6_Conv2d_1x1")]
        ['mixed_6a.branch1.2', 'block8.conv2d']
    """
    if layer == "Bottleneck":
        return "last_linear"
    if stem := re.fullmatch(r"Conv2d_(\w\w)_\dx\d", layer):
        return f"conv2d_{stem[1]}"
    found = re.fullmatch(
        r"(?:(Block\d+)_(\d+)|Mixed_(6a|7a))(?:_Branch_(\d))?_Conv2d_(?:(0[abc]|1a)_)?\dx\d", layer
    )
    if found is None or (found[1] or found[3]) not in _BLOCKS:
        return None
    block = _BLOCKS[found[1] or found[3]]
    if found[2]:
        alone = found[1] == "Block8" and int(found[2]) > _NUM_BLOCK8
        block = "block8" if alone else f"{block}.{int(found[2]) - 1}"
    if found[4] is None:
        return f"{block}.conv2d"
    branch = f"{block}.branch{found[4]}"
    return branch if found[5] is None or block + found[4] == "mixed_6a0" else f"{branch}.{_position(found)}"


def _position(found: re.Match[str]) -> int:
    """Return the index of a convolution in its branch: 0a, 0b, 0c; or 0a, (0b,) 1a in a reduction."""
    if found[5] != "1a":
        return "abc".index(found[5][1])
    return 1 if found[3] == "7a" and found[4] != "2" else 2


def _has_bias(module: str) -> bool:
    """Return whether a layer is the last of a residual block, which has no normalization."""
    return module.endswith(".conv2d")


def _tensors(module: str, layer: _Layer) -> dict[str, np.ndarray]:
    """Return the tensors of a module by name."""
    kernel = layer["kernel"]
    if _has_bias(module):
        return {f"{module}.weight": kernel, f"{module}.bias": layer["bias"]}
    ones = np.ones(len(kernel), np.float32)
    norm = {
        "weight": ones,
        "bias": layer.get("beta", layer.get("bias", 0 * ones)),
        "running_mean": layer.get("mean", 0 * ones),
        "running_var": layer.get("variance", (1 - _EPSILON) * ones),
    }
    weight, owner = (
        ("last_linear.weight", "last_bn")
        if module == "last_linear"
        else (f"{module}.conv.weight", f"{module}.bn")
    )
    return {weight: kernel, **{f"{owner}.{name}": array for name, array in norm.items()}}
