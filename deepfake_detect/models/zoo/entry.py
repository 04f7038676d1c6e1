"""What the table of published detectors says about each of them; imports no PyTorch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from deepfake_detect.records import CropGeometry, Preprocessing

Polarity = Literal["fake", "real"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ZooFile:
    """A published file.

    Attributes:
        address: ``https://...`` of the file (of Google Drive: ``https://drive.google.com/uc?id=...``, of
            Hugging Face: ``https://huggingface.co/OWNER/NAME/resolve/REVISION/FILE``); empty for a file
            that is not published by itself.
        sha256: Where the authors publish it, or where it was measured; else ``None``, and the hash of the
            first download is kept.
        size_mb: In units of 10^6 bytes, about.
        name: In the cache; the end of the address when empty.
        member: Name inside a zip or tar archive; empty where the file is the checkpoint itself.
        network: Layout of this file, where it is not that of the entry.
    """

    address: str
    sha256: str | None = None
    size_mb: float | None = None
    name: str = ""
    member: str = ""
    network: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the file in the cache."""
        return self.name or self.address.rsplit("/", 1)[-1].partition("?")[0]


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        data: What was scored, such as ``"Celeb-DF v2"``.
        metric: Such as ``"video AUC"``.
        value: The figure.
        source: Where it is published, or how it was measured.
        interval: 95% interval; ``None`` where not published.
        num_videos: Videos; ``None`` where not published.
    """

    data: str
    metric: str
    value: float
    source: str
    interval: tuple[float, float] | None = None
    num_videos: int | None = None


@dataclass(frozen=True)
class ZooEntry:
    """A published detector.

    Attributes:
        name: As in ``zoo:NAME``.
        title: In words.
        paper: Authors, year, and where to read it.
        repository: Of the authors.
        files: Files to download, one or more; with several, tensor names are prefixed with ``0.``, ``1.``,
            ...
        license: Of the weights, as stated by the authors.
        is_noncommercial: Whether it excludes commercial use.
        training_data: What the network was trained on.
        network: Name in ``models.published.LAYOUTS``.
        preprocessing: Of the network's input.
        geometry: How the authors cut a face.
        polarity: What the network's output, or its class 1, means.
        aggregation_rule: From faces to the clip, as the authors do it or the nearest rule.
        published: Figures of the authors or others.
        measured: Our figures.
        equivalents: Other files with the same weights, which ``fetch`` takes as a local file.
        notes: Notes for users: where crops or the rule differ from the authors'.
        refused: Why it cannot be used; empty if it can.
    """

    name: str
    title: str
    paper: str
    repository: str
    files: tuple[ZooFile, ...]
    license: str
    is_noncommercial: bool
    training_data: str
    network: str
    preprocessing: Preprocessing
    geometry: CropGeometry
    polarity: Polarity = "fake"
    aggregation_rule: str = "mean"
    published: tuple[Figure, ...] = ()
    measured: tuple[Figure, ...] = ()
    equivalents: tuple[ZooFile, ...] = field(default=(), repr=False)
    notes: str = ""
    refused: str = ""

    @property
    def size_mb(self) -> float | None:
        """Size of all files in units of 10^6 bytes; ``None`` where one is not known."""
        sizes = [file.size_mb for file in self.files if file.size_mb is not None]
        return sum(sizes) if len(sizes) == len(self.files) and sizes else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``zoo show --json`` prints them."""
        values = asdict(self)
        return {
            **values,
            "size_mb": self.size_mb,
            "preprocessing": asdict(self.preprocessing),
            "geometry": asdict(self.geometry),
        }
