"""Options of the functions that read datasets and manifests.

They are apart from those functions so that ``--help`` does not wait for NumPy, DuckDB and OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option

SplitPolicy = Literal["auto", "official", "identity"]
SimilarAre = Literal["images", "people"]
ExportFormat = Literal["deepfakebench"]
MIN_PERSON_SIMILARITY = 0.75
"""Of 28 people of FaceForensics++ the two names of one person have .78 to .83, with the FaceNets trained
on CASIA-WebFace and on MS-Celeb-1M; the next pair, of two people, has at most .74."""
DEFAULT_MIN_SIMILARITY = 0.98


def _layout_names() -> tuple[str, ...]:
    from deepfake_detect.data.layouts import LAYOUTS

    return LAYOUTS.names()


def _augmentation_names() -> tuple[str, ...]:
    from deepfake_detect.data.transforms import AUGMENTATIONS

    return AUGMENTATIONS.names()


@dataclass(frozen=True)
class SplitOptions:
    """How videos are assigned to splits.

    Raises:
        OptionError: A value is not allowed.
    """

    split: SplitPolicy = option(
        "auto",
        help=(
            "auto: keep official splits and divide the other videos by person; official: use "
            "only official splits; identity: divide all videos by person"
        ),
    )
    # FaceForensics++ divides its videos by these fractions.
    split_fractions: tuple[float, float, float] = option(
        (0.72, 0.14, 0.14),
        help=("fractions of train, val and test for videos without an official split (default .72 .14 .14)"),
        low=0,
        high=1,
        aliases=("--shares",),
    )
    val_fraction: float = option(
        0.0,
        help="fraction of an official train split to hold out as val, if there is no val",
        low=0,
        high=0.5,
    )
    split_seed: int = option(0, help="random seed for dividing videos", low=0)

    def __post_init__(self) -> None:
        check_options(self)
        fractions = self.split_fractions
        if len(fractions) != 3 or abs(sum(fractions) - 1) > 1e-6:
            cause = f"is {' '.join(f'{fraction:g}' for fraction in fractions)}"
            raise OptionError("split_fractions", cause, "must be three numbers that add up to 1: .8 .1 .1")


@dataclass(frozen=True)
class ReadingOptions(SplitOptions):
    """Which videos of a dataset are read, and how they are assigned to splits.

    Raises:
        OptionError: A value is not allowed.
    """

    dataset: str | None = option(
        None,
        help=(
            "layout of the dataset, such as ffpp, celebdf-v2, dfdc or csv (default: detected "
            "from its folders)"
        ),
        choices=_layout_names,
        aliases=("--kind",),
        metavar="NAME",
    )
    methods: tuple[str, ...] | None = option(
        None, help="forgery methods to read, with the matching reals (default: all)", metavar="METHOD"
    )
    compression: tuple[str, ...] | None = option(
        None, help="compression levels to read, such as c23 (default: all present)", metavar="LEVEL"
    )
    fake_label: str | None = option(
        None, help="for a CSV file: the label that means fake, if not 'fake' or 1", metavar="VALUE"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("methods", "compression"):
            values = getattr(self, name)
            if values is not None:  # names may also be separated by commas
                parts = tuple(part for value in values for part in value.split(",") if part)
                object.__setattr__(self, name, parts)
                if not parts:
                    raise OptionError(name, "is empty", "list at least one, or omit it")


@dataclass(frozen=True)
class CropImportOptions:
    """How published crops are imported.

    Raises:
        OptionError: A value is not allowed.
    """

    dataset: str = option(help="name of the dataset, such as DFDC; also the method of its fakes")
    margin: float = option(
        help="side of the crops divided by the longer side of an MTCNN face box", low=0.5, high=4
    )
    rename_split: tuple[str, ...] = option(
        (), help="published split names to rename, such as val=test", metavar="OLD=NEW"
    )
    val_fraction: float = option(
        0.0, help="fraction of the people in train to hold out as val", low=0, high=0.5
    )
    seed: int = option(0, help="random seed for choosing those people", low=0)
    in_place: bool = option(False, help="leave the crops in their tars or folder instead of copying them")

    def __post_init__(self) -> None:
        check_options(self)
        for text in self.rename_split:
            old, _, new = text.partition("=")
            if not (old and new):
                raise OptionError("rename_split", f"is {text!r}", "must be OLD=NEW")

    @property
    def split_names(self) -> dict[str, str]:
        """Published split -> its name here."""
        return {text.partition("=")[0]: text.partition("=")[2] for text in self.rename_split}


@dataclass(frozen=True)
class MergeOptions:
    """Which rows are merged.

    Raises:
        OptionError: A value is not allowed.
    """

    where: str | None = option(None, help="SQL condition on the rows (default: all rows)", metavar="EXPR")
    sample: int | None = option(
        None, help="number of videos to sample, with all their rows (default: all)", low=1
    )
    per: tuple[str, ...] = option(
        (), help="sample that many videos for each value of these columns", metavar="COLUMN"
    )
    seed: int = option(0, help="random seed for sampling")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class IndexExportOptions:
    """The form in which an index is exported.

    Raises:
        OptionError: A value is not allowed.
    """

    format: ExportFormat = option("deepfakebench", help="deepfakebench: the JSON lists of DeepfakeBench")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class PackOptions:
    """How crops are packed.

    Raises:
        OptionError: A value is not allowed.
    """

    shard_mb: float = option(256, help="size of a shard, in MB", above=0)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class AuditOptions:
    """What an audit compares.

    Raises:
        OptionError: A value is not allowed.
    """

    where: str | None = option(None, help="SQL condition on the rows (default: all rows)", metavar="EXPR")
    crops: bool = option(True, help="compare names only; do not read the crops")
    features: Path | None = option(
        None, help="feature file of the crops, to compare faces by features too", metavar="FILE"
    )
    min_similarity: float | None = option(
        None,
        help=(
            f"smallest cosine of similar faces (default {DEFAULT_MIN_SIMILARITY}; "
            f"{MIN_PERSON_SIMILARITY} for people)"
        ),
        above=-1,
        high=1,
        metavar="COSINE",
    )
    similar_are: SimilarAre | None = option(
        None,
        help=(
            "what similar features mean: the same image or, for a face recognition network, the "
            "same person (default images)"
        ),
    )
    people: bool = option(False, help="find people with two names by comparing faces in real videos")
    weights: str = option(
        "vggface2",
        help=("FaceNet weights for finding people: a published name, or a file from convert_checkpoint"),
    )
    num_workers: int | None = option(
        None,
        help="number of threads that read crops (default: number of cores)",
        low=1,
        aliases=("--workers",),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.features is None and self.similar_are is not None:
            raise OptionError("similar_are", "has no effect without `features`", "omit it")
        if self.features is None and not self.people and self.min_similarity is not None:
            raise OptionError("min_similarity", "has no effect without `features` or `people`", "omit it")


@dataclass(frozen=True)
class BatchSheetOptions:
    """Which crops are shown, and what training does to them.

    Raises:
        OptionError: A value is not allowed.
    """

    augmentation: str = option("strong", help="augmentation to apply", choices=_augmentation_names)
    forgery: str | None = option(
        None, help="fakes to make from reals: sbi, cross or sbi+cross (default: none)", metavar="BLENDS"
    )
    split: str = option("train", help="split of the crops", metavar="NAME")
    where: str | None = option(None, help="SQL condition on the rows (default: all rows)", metavar="EXPR")
    num_crops: int = option(8, help="number of crops; half of them are real", low=1, flag="--crops")
    num_times: int = option(7, help="number of times each crop is augmented", low=1, flag="--times")
    image_size: int = option(224, help="side of a crop, in pixels", low=1)
    seed: int = option(0, help="random seed for choosing and augmenting crops", low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        check_options(self)
