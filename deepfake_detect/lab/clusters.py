"""Clusters of similar faces, and their positions on a map."""

from __future__ import annotations

import importlib.util
from typing import get_args

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.features.neighbors import unit_vectors
from deepfake_detect.lab.options import ClusterMethod, FaceMapOptions, Projection

NO_CLUSTER = -1
"""Of a face that HDBSCAN assigns to no cluster."""
_COMPONENTS = 50  # distances in more dimensions are slow, and mostly noise
_PERPLEXITY = 30.0


def cluster_faces(
    features: np.ndarray,
    *,
    method: ClusterMethod = FaceMapOptions.cluster,
    num_clusters: int = FaceMapOptions.num_clusters,
    min_size: int = FaceMapOptions.min_size,
    seed: int = FaceMapOptions.seed,
) -> np.ndarray:
    """Return the cluster of each face.

    Features are scaled to unit vectors and reduced to at most 50 principal components.

    Args:
        features: float (N, F).
        method: ``"kmeans"``, or ``"hdbscan"``, which chooses the number of clusters and leaves outliers
            unassigned.
        num_clusters: Of k-means, 1 to N.
        min_size: Smallest cluster of HDBSCAN, 2 to N.
        seed: Of k-means.

    Returns:
        int64 (N,), from 0 by decreasing size; ``NO_CLUSTER`` for none.

    Raises:
        OptionError: An unknown method, or a number out of range.

    Sources: Lloyd, IEEE Trans. Inf. Theory 28 (1982); Campello, Moulavi and Sander, "Density-based
    clustering based on hierarchical density estimates", PAKDD 2013.

    Example:
        >>> cluster_faces(np.array([[1.0, 0], [0, 1], [0, 1.1], [0.1, 1]]), num_clusters=2).tolist()
        [1, 0, 0, 0]
    """
    from sklearn.cluster import HDBSCAN, KMeans

    if method not in get_args(ClusterMethod):
        raise OptionError("method", f"is {method!r}", f"must be one of {', '.join(get_args(ClusterMethod))}")
    option, value, least = (
        ("num_clusters", num_clusters, 1) if method == "kmeans" else ("min_size", min_size, 2)
    )
    if not least <= value <= len(features):
        raise OptionError(option, f"is {value}", f"must be {least} to {len(features)}, the number of faces")
    inputs = _components(features, seed)
    if method == "kmeans":
        found = KMeans(num_clusters, n_init=4, random_state=seed).fit_predict(inputs)
    else:
        found = HDBSCAN(min_cluster_size=min_size, copy=True).fit_predict(inputs)
    return _by_size(found)


def _by_size(clusters: np.ndarray) -> np.ndarray:
    """Renumber clusters by decreasing size, and those of equal size by their first face."""
    names, first, counts = np.unique(clusters, return_index=True, return_counts=True)
    is_real = names >= 0
    order = names[is_real][np.lexsort((first[is_real], -counts[is_real]))]
    numbers = {int(name): number for number, name in enumerate(order)}
    return np.array([numbers.get(int(name), NO_CLUSTER) for name in clusters], np.int64)


def project_faces(
    features: np.ndarray,
    *,
    method: Projection = FaceMapOptions.projection,
    seed: int = FaceMapOptions.seed,
) -> np.ndarray:
    """Return the positions of faces on a map on which similar faces are close.

    Args:
        features: float (N, F), N >= 3; used as by :func:`cluster_faces`.
        method: ``"pca"``, ``"tsne"``, or ``"umap"`` where umap-learn is installed. Of t-SNE and UMAP
            only proximity is meaningful, not the distance between groups.
        seed: Of t-SNE and UMAP.

    Returns:
        float64 (N, 2).

    Raises:
        OptionError: The method is unknown or not installed, or there are fewer than three faces.

    Sources: van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9 (2008); McInnes, Healy
    and Melville, "UMAP", arXiv:1802.03426.

    Example:
        >>> project_faces(np.eye(4), method="pca").shape
        (4, 2)
    """
    if method not in get_args(Projection):
        raise OptionError("method", f"is {method!r}", f"must be one of {', '.join(get_args(Projection))}")
    if len(features) < 3:
        raise OptionError("features", f"are of {len(features)} faces", "must be of 3 or more")
    if method == "umap" and importlib.util.find_spec("umap") is None:
        remedy = "run 'pip install umap-learn', or choose tsne"
        raise OptionError("projection", "needs umap-learn, which is not installed", remedy)
    inputs = _components(features, seed)
    if method == "pca":
        return _two_columns(inputs)
    if method == "umap":
        from umap import UMAP

        return np.asarray(UMAP(random_state=seed, n_jobs=1).fit_transform(inputs), np.float64)
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    scaled = _two_columns(inputs)
    start = scaled / max(float(scaled[:, 0].std()), 1e-12) * 1e-4  # small, as in the t-SNE paper
    positions = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(inputs)
    return np.asarray(positions, np.float64)


def _two_columns(inputs: np.ndarray) -> np.ndarray:
    columns = np.zeros((len(inputs), 2))
    columns[:, : inputs.shape[1]] = inputs[:, :2]
    return columns


def _components(features: np.ndarray, seed: int) -> np.ndarray:
    """Return the first principal components of unit vectors, strongest first."""
    from sklearn.decomposition import PCA

    units = unit_vectors(features)
    count = min(_COMPONENTS, *units.shape)
    components: np.ndarray = PCA(count, random_state=seed).fit_transform(units)
    return components
