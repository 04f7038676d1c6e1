"""How crops are made and stored: the same for all crops of one folder, and recorded there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option
from deepfake_detect.records import CropGeometry

PersonPolicy = Literal["auto", "largest", "mask", "all"]
FaceRuntime = Literal["auto", "torch", "onnx"]
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class ExtractionConfig:
    """How crops are made and stored.

    A dataset's label applies to one person in a video. ``person="auto"`` keeps the person covered by the
    published mask if the video has one, else the ``"largest"``: the person who appears largest and longest.
    ``"mask"`` is the same, except that fakes without a usable mask are skipped. ``"all"`` keeps everyone,
    including bystanders, under the video's label.

    With ``crops_for``, crops are cut the way a detector needs them, and ``detector_geometry`` comes from
    its file; see :meth:`resolved`.

    With ``already_cropped`` each frame is a face crop that the dataset's owners made with this margin
    and alignment: frames are stored whole and no faces are detected.

    Raises:
        OptionError: A value is not allowed.
    """

    num_frames: int = option(32, help="number of evenly spaced frames per video", low=1, flag="--frames")
    margin: float = option(1.3, help="side of the crop divided by the side of the face box", low=0.5, high=4)
    aligned: bool = option(False, help="rotate each face upright using its landmarks", flag="--align")
    crops_for: str | None = option(
        None,
        help=("cut crops the way this detector needs them (a file or zoo:NAME), instead of margin and align"),
        metavar="DETECTOR",
    )
    min_face: float | None = option(
        None,
        help="smallest face to detect, in pixels (default: a tenth of the frame's shorter side)",
        low=12,
    )
    person: PersonPolicy = option(
        "auto",
        help=(
            "whose faces to keep. auto: the person covered by the dataset's mask, else the "
            "largest; largest: the person who appears largest and longest; mask: like auto, but "
            "skip fakes without a mask; all: everyone"
        ),
    )
    image_format: Literal["png", "jpeg"] = option("png", help="format of the crops", flag="--format")
    quality: int | None = option(None, help=f"JPEG quality (default {_JPEG_QUALITY})", low=1, high=100)
    store: Literal["files", "shards"] = option(
        "files", help="files: one file per crop; shards: one WebDataset tar per video"
    )
    already_cropped: bool = option(
        False, help="the frames are already face crops, made with this margin; keep them whole"
    )
    allow_truncated: bool = option(False, help="use the readable frames of truncated videos")
    detector_geometry: CropGeometry | None = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.quality is not None and self.image_format == "png":
            raise OptionError(
                "quality", "is for JPEG, and PNG is lossless", "set `image_format` to jpeg, or omit it"
            )
        if self.already_cropped and self.person != "auto":
            raise OptionError(
                "person",
                "does not apply to crops made by the dataset's owners, which show one person each",
                "omit `person` or `already_cropped`",
            )

    @property
    def geometry(self) -> CropGeometry:
        """How crops are cut."""
        return self.detector_geometry or CropGeometry(self.margin, self.aligned)

    def resolved(self) -> ExtractionConfig:
        """Return the same with the geometry of ``crops_for``, whose file other machines may not have.

        Raises:
            CheckpointError, OptionError, WeightsError: The detector cannot be read.
        """
        if self.crops_for is None:
            return self
        from deepfake_detect.runtimes.load import read_config  # here: it loads ONNX Runtime

        return replace(self, detector_geometry=replace(read_config(self.crops_for).geometry, narrowest=None))

    @property
    def codec(self) -> str:
        """Format and quality as the manifest records them, such as ``"png"`` or ``"jpeg-95"``."""
        return "png" if self.image_format == "png" else f"jpeg-{self._jpeg_quality}"

    @property
    def suffix(self) -> str:
        """File name suffix of the crops."""
        return ".png" if self.image_format == "png" else ".jpg"

    @property
    def encoding(self) -> list[int]:
        """Parameters of ``cv2.imencode``."""
        if self.image_format == "png":
            return []
        import cv2  # here, since the command line lists the options without loading it

        # Full chroma resolution: forgeries show in the chroma too, which JPEG halves by default.
        full_chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        return [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality, *full_chroma]

    @property
    def _jpeg_quality(self) -> int:
        return _JPEG_QUALITY if self.quality is None else self.quality

    def settings(self) -> dict[str, Any]:  # JSON
        """Return what settings.json records, to compare with a later run."""
        return {
            "num_frames": self.num_frames,
            "geometry": self.geometry.to_dict(),
            "min_face": self.min_face,
            "person": self.person,
            "codec": self.codec,
            "store": self.store,
            "allow_truncated": self.allow_truncated,
            "already_cropped": self.already_cropped,
        }


@dataclass(frozen=True)
class RunOptions:
    """Options of :func:`extract_faces` that do not change the crops."""

    where: str | None = option(
        None, help="SQL condition on the videos, for an index of videos", metavar="EXPR"
    )
    num_workers: int | None = option(
        None,
        help=(
            "number of videos to process in parallel (default: one per core, at most 8; on Ray "
            "as many as fit)"
        ),
        low=1,
        flag="--workers",
    )
    runtime: FaceRuntime = option(
        "auto",
        help=(
            "runtime of the face detector: torch, onnx (ONNX Runtime, on the CPU), or auto: "
            "torch on a GPU, else onnx"
        ),
    )
    device: str = option("auto", help="auto, cpu or cuda")

    def __post_init__(self) -> None:
        check_options(self)
