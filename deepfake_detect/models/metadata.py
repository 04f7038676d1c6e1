"""The metadata of a detector file of any kind and the checksum of its weights, from the bytes alone.

Detector files come from strangers. So what one says about itself is checked before PyTorch, ONNX Runtime
or OpenVINO opens it, and an ONNX file may not name others that hold its weights.

==================  ============================================  ===============================
file                metadata                                      the checksum covers
==================  ============================================  ===============================
``.safetensors``    ``__metadata__`` of the header                names, shapes and tensors
``.onnx``           ``metadata_props``                            everything else
``.xml``            section ``deepfake_detect`` of ``<rt_info>``  the layers, and the ``.bin``
==================  ============================================  ===============================
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.errors import CheckpointError, DeepfakeDetectError

PRECISION_KEY, SOURCE_KEY, CHECKSUM_KEY = "precision", "source_sha256", "weights_sha256"
EXPORT_KEYS = (SOURCE_KEY, PRECISION_KEY, "exported_by", "agreement")
"""What only exported files say: the SHA-256 of the detector file, the precision, the library that wrote
it, and how far it differed from PyTorch (JSON)."""
METADATA_NAME = "deepfake_detect"
"""Section of an OpenVINO model's metadata; elsewhere the keys are at the top level."""
_OUR_FOLDER = Path(__file__).resolve().parents[1] / "weights"
_LARGEST_HEADER = 100 * 2**20  # as in the safetensors library
_ONNX_GRAPH, _ONNX_METADATA = 7, 14  # fields of ONNX's ModelProto
_MOST_FIELDS = 10_000  # where exports have about a dozen
# With this key a tensor of ONNX names a file; in any encoding that protobuf allows.
_NAMES_A_FILE = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
_XML_ENTRY = re.compile(r'<(\w+) value="([^"]*)"')


@dataclass(frozen=True, eq=False)
class DetectorBytes:
    """The bytes of a detector file: what it says about itself, and what the checksum covers."""

    path: Path
    metadata: dict[str, str]
    weights: tuple[bytes | memoryview, ...]

    def check_weights(self, error: type[DeepfakeDetectError] = CheckpointError) -> None:
        """Check that the weights are those that were written, where the file has a checksum.

        Raises:
            DeepfakeDetectError: Of the kind ``error``: they are not.
        """
        wanted = self.metadata.get(CHECKSUM_KEY)
        if wanted is not None and wanted != sha256_of(self.weights):
            cause = "is damaged: its weights are not those that were written (checksum)"
            raise error(self.path, cause, "download it again")


def read_bytes(path: Path, *, kind: str, may_name_files: bool = False) -> DetectorBytes:
    """Read a detector file without opening it in a runtime.

    Args:
        path: ``.onnx``, ``.xml`` with its ``.bin``, or safetensors.
        kind: What the file should be, for the error: ``"ONNX"``.
        may_name_files: Whether an ONNX file's weights may be in another file, as those of the package's
            own detector are.

    Raises:
        CheckpointError: The file is missing, damaged or none of these, or it names other files.
    """
    if not path.is_file():
        raise CheckpointError(path, "there is no such detector file", "pass a file of train or export")
    try:
        data = path.read_bytes()
        if path.suffix == ".onnx":
            metadata, weights = _onnx_parts(data)
        elif path.suffix == ".xml":
            metadata, weights = _xml_parts(data, path.with_suffix(".bin"))
        else:
            metadata, weights = safetensors_parts(data)
    except (OSError, ValueError, LookupError, AttributeError, RecursionError) as error:
        cause = f"is not a complete {kind} file ({error})"
        raise CheckpointError(path, cause, "download it again, or write it again") from error
    is_ours = may_name_files or path.suffix != ".onnx" or path.resolve().parent == _OUR_FOLDER
    if not is_ours and b"location" in data and _NAMES_A_FILE.search(data):
        raise CheckpointError(path, "names other files that hold its weights", "export the detector again")
    return DetectorBytes(path, metadata, weights)


def sha256_of(parts: Iterable[bytes | memoryview]) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def add_checksum(path: Path) -> None:
    """Write the checksum of its weights into an exported file, ``.onnx`` or ``.xml`` with its ``.bin``."""
    checksum = sha256_of(read_bytes(path, kind="exported", may_name_files=True).weights)
    if path.suffix == ".onnx":
        texts = [(b"\x0a", CHECKSUM_KEY.encode()), (b"\x12", checksum.encode())]  # key and value
        entry = b"".join(tag + bytes([len(text)]) + text for tag, text in texts)
        with open(path, "ab") as file:  # fields of protobuf may follow one another in any order
            file.write(bytes([_ONNX_METADATA << 3 | 2, len(entry)]) + entry)
    else:
        before, end, after = path.read_text("utf-8").rpartition(f"</{METADATA_NAME}>")
        path.write_text(f'{before}<{CHECKSUM_KEY} value="{checksum}" />{end}{after}', "utf-8")


def safetensors_parts(data: bytes | memoryview) -> tuple[dict[str, str], tuple[bytes | memoryview, ...]]:
    """Return the metadata of a safetensors file, and what its checksum covers.

    Raises:
        ValueError, AttributeError: The header is cut off or damaged.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    if not 8 < end <= min(len(data), _LARGEST_HEADER):
        raise ValueError("its header is cut off")
    header = json.loads(bytes(data[8:end]))
    if not isinstance(header, dict):
        raise ValueError("its header is not a mapping")
    metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
    return metadata, (json.dumps(header, sort_keys=True).encode(), memoryview(data)[end:])


def _onnx_parts(data: bytes) -> tuple[dict[str, str], tuple[bytes | memoryview, ...]]:
    metadata: dict[str, str] = {}
    covered: list[bytes | memoryview] = []
    has_graph = False
    for count, (number, start, value, end) in enumerate(_protobuf_fields(memoryview(data))):
        if count == _MOST_FIELDS:
            raise ValueError("it has too many fields")
        has_graph |= number == _ONNX_GRAPH
        if number == _ONNX_METADATA:
            entry = {key: bytes(text).decode() for key, _, text, _ in _protobuf_fields(value)}
            metadata[entry.get(1, "")] = entry.get(2, "")
        else:
            covered.append(memoryview(data)[start:end])
    if not has_graph:
        raise ValueError("it has no network")
    return metadata, tuple(covered)


def _protobuf_fields(data: memoryview) -> Iterator[tuple[int, int, memoryview, int]]:
    """Yield number, start, value and end of the fields of a protobuf message; numbers have no value."""
    end = 0
    while end < len(data):
        start = end
        tag, end = _protobuf_integer(data, end)
        value = data[:0]
        if tag & 7 == 2:
            size, begin = _protobuf_integer(data, end)
            end = begin + size
            value = data[begin:end]
        elif tag & 7 == 0:
            _, end = _protobuf_integer(data, end)
        else:
            end += {1: 8, 5: 4}[tag & 7]
        if end > len(data):
            raise ValueError("it is cut off")
        yield tag >> 3, start, value, end


def _protobuf_integer(data: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
    return number, position


def _xml_parts(data: bytes, weights: Path) -> tuple[dict[str, str], tuple[bytes | memoryview, ...]]:
    start = data.rfind(b"<rt_info>")
    if start < 0 or not data.rstrip().endswith(b"</net>"):
        raise ValueError("it is cut off")
    section = data[start:].decode().partition(f"<{METADATA_NAME}>")[2].partition(f"</{METADATA_NAME}>")[0]
    metadata = {key: html.unescape(value) for key, value in _XML_ENTRY.findall(section)}
    return metadata, (data[:start], weights.read_bytes())
