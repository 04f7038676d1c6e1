"""The rules of imports: rooms in order, single importers, light start, guarded exports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import deepfake_detect

PACKAGE = Path(deepfake_detect.__file__).parent
# A room may import itself and rooms before it. Rooms on one line do not import each other.
ORDER = [
    ["_version", "errors", "plurals"],
    ["records"],
    ["extras", "options", "device", "images", "logs", "progress", "plugins"],
    ["registry"],
    ["io", "metrics", "work"],
    ["provenance"],
    ["video"],
    ["faces"],
    ["data"],
    ["forgery"],
    ["models"],
    ["runtimes"],
    ["explanation"],
    ["evaluation"],
    ["report"],
    ["training"],
    ["features"],
    ["scoring"],
    ["extraction"],
    ["app"],
    ["cli"],
    ["lab"],
    ["weights"],
]
# The notebook view of a result is drawn by the report; records import nothing else of a later room.
EXCEPTIONS = {("records", "deepfake_detect.report.clip")}
LAST_ROOMS = ("lab", "cli")  # they may import from the front door
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
SINGLE_IMPORTERS = {
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "rich": {"report", "progress"},
    "h5py": {"features", "models"},
    "av": {"video"},
    "duckdb": {"data"},
    "onnx": {"runtimes"},
    "onnxruntime": {"runtimes"},
    "openvino": {"runtimes"},
    "fsspec": {"io"},
    "huggingface_hub": {"io"},
    "ray": {"work"},
}
FACENET = {"faces": frozenset({"PNet", "RNet", "ONet"}), "models": frozenset({"InceptionResnetV1"})}


MAPPED = re.compile(r"^    ([a-z_, ]+?)  +\S", re.MULTILINE)


def modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def room_of(path: Path, package: Path) -> str:
    relative = path.relative_to(package)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield every module a file imports and the names taken of it, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, frozenset()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = frozenset(alias.name for alias in node.names)
            if node.level:
                yield "." * node.level + (node.module or ""), names
            elif node.module == "deepfake_detect":
                yield from ((f"deepfake_detect.{name}", frozenset()) for name in names)
            else:
                yield str(node.module), names


def relative_imports(package: Path) -> Iterator[str]:
    for path in modules(package):
        yield from (f"{path.name}: {name}" for name, _ in imports(path) if name.startswith("."))


def misplaced_imports(package: Path) -> Iterator[str]:
    """Yield imports of rooms that do not come before the importing one, and unknown rooms."""
    for path in modules(package):
        room = room_of(path, package)
        if room == "__init__":
            continue  # the front door names every room, and loads them only on use
        if room not in RANK:
            yield f"{room} is not in ORDER"
            continue
        for name, _ in imports(path):
            parts = name.split(".")
            if parts[0] != "deepfake_detect" or len(parts) == 1 or parts[1] == room:
                continue
            is_front_door = room in LAST_ROOMS and parts[1] in deepfake_detect.__all__
            if (room, name) in EXCEPTIONS or is_front_door:
                continue
            if RANK.get(parts[1], len(ORDER)) >= RANK[room]:
                yield f"{room}/{path.name} imports {name}"


def foreign_importers(package: Path) -> Iterator[str]:
    """Yield imports of a library outside the rooms it belongs to."""
    for path in modules(package):
        room = room_of(path, package)
        for name, _ in imports(path):
            library = name.split(".")[0]
            if room not in SINGLE_IMPORTERS.get(library, {room}):
                yield f"{room}/{path.name} imports {library}"


def misused_face_detector(package: Path) -> Iterator[str]:
    """Yield imports of facenet-pytorch other than MTCNN's in faces and the recognizer's in models."""
    for path in modules(package):
        allowed = FACENET.get(room_of(path, package), frozenset())
        for name, names in imports(path):
            if name.split(".")[0] == "facenet_pytorch" and not (names and names <= allowed):
                yield f"{room_of(path, package)}/{path.name} imports {name} {sorted(names)}"


def map_of(docstring: str) -> list[str]:
    """Return the rooms of a docstring's map, in its order."""
    return [room for line in MAPPED.findall(docstring) for room in line.split(", ")]


RULES: dict[str, Callable[[Path], Iterator[str]]] = {
    "relative": relative_imports,
    "order": misplaced_imports,
    "single importer": foreign_importers,
    "face detector": misused_face_detector,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_the_rule(rule: str) -> None:
    assert list(RULES[rule](PACKAGE)) == []


@pytest.mark.parametrize(
    ("rule", "file", "line"),
    [
        ("relative", "faces/a.py", "from .crops import square"),
        ("relative", "faces/a.py", "from . import crops"),
        ("order", "video/a.py", "from deepfake_detect.faces import detect_faces"),
        ("order", "video/a.py", "import deepfake_detect.faces.crops"),
        ("order", "video/a.py", "from deepfake_detect import faces"),
        ("order", "metrics/a.py", "def f():\n    from deepfake_detect.io.files import read_json"),
        ("order", "records.py", "from deepfake_detect.device import choose_device"),
        ("order", "video/a.py", "import deepfake_detect.unheard_of"),
        ("order", "unheard_of/a.py", "pass"),
        ("order", "app/a.py", "from deepfake_detect import score_video"),
        ("order", "cli/a.py", "from deepfake_detect import unheard_of"),
        ("face detector", "faces/a.py", "from facenet_pytorch import InceptionResnetV1"),
        ("face detector", "data/a.py", "from facenet_pytorch.models.mtcnn import PNet"),
        ("face detector", "models/a.py", "from facenet_pytorch.models.mtcnn import PNet"),
        ("face detector", "faces/a.py", "import facenet_pytorch"),
        *(("single importer", "video_/a.py", f"import {library}.sub") for library in SINGLE_IMPORTERS),
        *(("single importer", "video_/a.py", f"from {library} import b") for library in SINGLE_IMPORTERS),
    ],
)
def test_a_planted_violation_is_found(rule: str, file: str, line: str, tmp_path: Path) -> None:
    for name, text in {"__init__.py": "", "errors.py": "import math", "faces/crops.py": "import cv2"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(RULES[rule](tmp_path)) == []
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(line)
    assert len(list(RULES[rule](tmp_path))) == 1


def test_the_map_in_the_docstring_is_the_import_order() -> None:
    mapped = map_of(str(deepfake_detect.__doc__))
    ordered = [room for rooms in ORDER for room in rooms if room not in ("_version", "weights")]
    assert mapped == ordered


def test_a_wrong_map_is_found() -> None:
    docstring = str(deepfake_detect.__doc__)
    line = next(line for line in docstring.splitlines() if line.startswith("    faces "))
    ordered = map_of(docstring)
    assert map_of(docstring.replace(line + "\n", "")) == [room for room in ordered if room != "faces"]
    assert map_of(docstring + "    another  room\n") == [*ordered, "another"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, deepfake_detect;"
        "print([m for m in ('torch','cv2','av','numpy','timm','matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_exported_name_is_there() -> None:
    for name in deepfake_detect.__all__:
        assert getattr(deepfake_detect, name) is not None
    with pytest.raises(AttributeError, match="No deepfake_detect attribute absent"):
        deepfake_detect.absent  # noqa: B018
