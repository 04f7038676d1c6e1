from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_detect.data.sheets import save_image
from deepfake_detect.errors import OptionError
from deepfake_detect.lab import clusters
from deepfake_detect.lab.clusters import NO_CLUSTER, cluster_faces, project_faces
from deepfake_detect.lab.face_map import read_thumbnails, write_face_map
from deepfake_detect.lab.options import ClusterMethod, Projection


@pytest.fixture
def groups() -> tuple[np.ndarray, np.ndarray]:
    """Three groups of 30, 20 and 10 faces in 80 dimensions, and the group of each."""
    rng = np.random.default_rng(0)
    of_face = np.repeat([0, 1, 2], [30, 20, 10])
    return rng.normal(size=(3, 80))[of_face] + 0.2 * rng.normal(size=(60, 80)), of_face


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_groups_are_found_and_numbered_by_size(
    method: ClusterMethod, groups: tuple[np.ndarray, np.ndarray]
) -> None:
    features, of_face = groups
    shuffled = np.random.default_rng(1).permutation(60)
    found = cluster_faces(features[shuffled], method=method, num_clusters=3)
    np.testing.assert_array_equal(found, of_face[shuffled])
    assert found.dtype == np.int64


def test_hdbscan_leaves_outliers_unassigned(groups: tuple[np.ndarray, np.ndarray]) -> None:
    strangers = np.random.default_rng(2).normal(size=(6, 80))
    found = cluster_faces(np.concatenate([groups[0], strangers]), method="hdbscan")
    assert (found[-6:] == NO_CLUSTER).sum() >= 4
    np.testing.assert_array_equal(found[:-6], groups[1])


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_similar_faces_are_close(method: Projection, groups: tuple[np.ndarray, np.ndarray]) -> None:
    features, of_face = groups
    positions = project_faces(features, method=method)
    assert positions.shape == (60, 2)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2) + 1e9 * np.eye(60)
    assert (of_face[distances.argmin(1)] == of_face).all()
    np.testing.assert_array_equal(positions, project_faces(features, method=method))


def test_invalid_choices_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = np.eye(4)
    with pytest.raises(OptionError, match="method: is 'dbscan'; must be one of kmeans, hdbscan"):
        cluster_faces(faces, method="dbscan")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="num_clusters: is 5; must be 1 to 4, the number of faces"):
        cluster_faces(faces, num_clusters=5)
    with pytest.raises(OptionError, match="min_size: is 1; must be 2 to 4"):
        cluster_faces(faces, method="hdbscan", min_size=1)
    with pytest.raises(OptionError, match="method: is 'map'; must be one of pca, tsne, umap"):
        project_faces(faces, method="map")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="are of 2 faces; must be of 3 or more"):
        project_faces(faces[:2])
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="needs umap-learn, which is not installed"):
        project_faces(faces, method="umap")


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    thumbnails = np.zeros((5, 16, 16, 3), np.uint8)
    for number in range(5):
        thumbnails[number] = (50 * number, 0, 250 - 50 * number)
    positions = np.array([[0, 0], [10, 0], [10, 5], [0, 5], [5, 2.5]], float)
    nasty = ["a", "</script><b>", '"', "<!--<script>", ""]
    write_face_map(tmp_path / "m.html", positions, thumbnails, {"person": nasty, "n": "01234"}, title="<Map>")
    page = (tmp_path / "m.html").read_text("utf-8")
    assert not re.search(r"(src|href)=.?(https?:)?//", page)
    assert "&lt;Map&gt;" in page
    assert "<!--" not in page
    data = data_of(page)
    assert data["columns"] == {"person": nasty, "n": list("01234")}
    assert data["positions"] == [[0, 0.25], [1, 0.25], [1, 0.75], [0, 0.75], [0.5, 0.5]]
    encoded = re.search(r"data:image/jpeg;base64,([^\"]+)", page)
    assert encoded is not None
    sheet = cv2.imdecode(np.frombuffer(base64.b64decode(encoded[1]), np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    assert sheet.shape == (32, 48, 3)
    assert data["perRow"] == 3
    np.testing.assert_allclose(
        sheet[24, 24, ::-1], thumbnails[4, 0, 0], atol=8
    )  # the fifth: second row, second


def test_a_missing_crop_is_gray(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.full((90, 90, 3), 17, np.uint8))
    thumbnails = read_thumbnails(tmp_path, ["a.png", "gone.png"])
    assert thumbnails.shape == (2, 56, 56, 3)
    assert np.unique(thumbnails[0]).tolist() == [17]
    assert np.unique(thumbnails[1]).tolist() == [200]


def test_invalid_pages_are_rejected(tmp_path: Path) -> None:
    faces = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(OptionError, match="has 0 faces; must be 1 to 20,000"):
        write_face_map(tmp_path / "m.html", np.zeros((0, 2)), faces[:0], {"a": []}, title="x")
    for columns, positions in (
        ({"a": ["x"]}, np.eye(2)),
        ({}, np.eye(2)),
        ({"a": "xy"}, np.full((2, 2), np.nan)),
    ):
        with pytest.raises(OptionError, match="positions, faces and columns of unequal length"):
            write_face_map(tmp_path / "m.html", positions, faces, columns, title="x")
