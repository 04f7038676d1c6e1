"""The house rules of imports: rooms in order, single importers, light start, guarded exports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import deepfake_detect

PACKAGE = Path(deepfake_detect.__file__).parent
# A room may import itself and rooms before it. Rooms on one line do not import each other.
ORDER = [
    ["_version", "errors"],
    ["records"],
    ["options", "device", "images", "progress", "plugins"],
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
    ["lab"],
    ["cli"],
    ["weights"],
]
# The notebook view of a result is drawn by the report; records import nothing else of a later room.
EXCEPTIONS = {("records", "deepfake_detect.report.clip")}
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
SINGLE_IMPORTERS = {
    "matplotlib": {"report", "lab"},
    "h5py": {"features", "models"},
    "av": {"video"},
    "duckdb": {"data"},
    "onnx": {"runtimes"},
    "onnxruntime": {"runtimes"},
    "openvino": {"runtimes"},
    "fsspec": {"io"},
    "ray": {"work"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_names(path: Path) -> Iterator[str]:
    """Every dotted name a module imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "deepfake_detect":
                yield from (f"deepfake_detect.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # the public face names every room, and loads them only on use
    assert room in RANK, f"{room} is not in the house plan"
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] != "deepfake_detect" or len(parts) == 1 or (room, name) in EXCEPTIONS:
            continue
        other = parts[1]
        assert other == room or RANK[other] < RANK[room], f"{path.name} ({room}) imports {name}"


@pytest.mark.parametrize("library", sorted(SINGLE_IMPORTERS))
def test_a_library_has_one_home(library: str) -> None:
    importers = {
        room_of(path)
        for path in modules()
        if any(name.split(".")[0] == library for name in imported_names(path))
    }
    assert importers <= SINGLE_IMPORTERS[library]


def test_only_faces_imports_the_face_detector() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "facenet_pytorch":
                names = {alias.name for alias in node.names}
                allowed = {"faces": {"MTCNN"}, "models": {"InceptionResnetV1"}}[room_of(path)]
                assert names <= allowed, path


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
