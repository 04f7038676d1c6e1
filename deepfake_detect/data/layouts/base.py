"""What every reader of a dataset layout gives and is told, and the checks they share."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
# What folders and columns call a split, in lower case -> its name here.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# How Python keeps the bytes of a file name that are no UTF-8; a table cannot hold them.
_NO_TEXT = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class ReadOptions:
    """What to read of a tree.

    Attributes:
        methods: Forgery methods wanted, ``None`` for all; their pristine sources come along.
        compressions: Compression levels wanted, ``None`` for all that are there.
        fake_label: The value that means fake in a CSV whose labels are neither words nor 1 = fake.
    """

    methods: tuple[str, ...] | None = None
    compressions: tuple[str, ...] | None = None
    fake_label: str | None = None


@dataclass(frozen=True)
class VideoListing:
    """What a tree holds of what the dataset has.

    Attributes:
        videos: Videos that are there, reals first, then method by method, sorted by name.
        missing: Videos the dataset is known to have by name that are not there (``path`` is
            where they belong).
        num_expected: Per group (see :func:`group_name`) how many videos the dataset has, where
            its owners say so; groups of which nothing is there included.
        ignored: Files and folders that are no part of the dataset.
        notes: One line each on what a reader of the listing should know.
    """

    videos: tuple[DatasetVideo, ...]
    missing: tuple[DatasetVideo, ...] = ()
    num_expected: Mapping[str, int] = field(default_factory=dict)
    ignored: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, tuple[int, int | None]]:
        """Return per group: (videos there, videos the dataset has or ``None`` when unknown)."""
        found = Counter(group_name(video) for video in self.videos)
        groups = [*self.num_expected, *(name for name in found if name not in self.num_expected)]
        return {name: (found[name], self.num_expected.get(name)) for name in groups}


@dataclass(frozen=True)
class Layout:
    """One dataset layout: how to know it and how to read it.

    Attributes:
        kind: Short name, as ``--kind`` takes it.
        dataset: Name of the dataset, as its papers write it.
        summary: The folders in one line.
        label_source: Where labels come from, and with which polarity.
        split_source: Where the official split comes from, or that there is none.
        published: Sizes its owners publish, in one line.
        recognize: Folder or file -> what gives the layout away in one line, or ``None``. Looks at
            names only, and also knows a tree with one misspelled or absent folder.
        read: Folder or file, options -> listing. Raises DatasetLayoutError for misspelled folders,
            contradicting labels and trees without any video.
    """

    kind: str
    dataset: str
    summary: str
    label_source: str
    split_source: str
    published: str
    recognize: Callable[[Path], str | None]
    read: Callable[[Path, ReadOptions], VideoListing]


def group_name(video: DatasetVideo) -> str:
    """Return the group a video is counted in: its method, and its compression where known."""
    return f"{video.method} {video.compression}" if video.compression else video.method


def make_video_id(dataset: str, method: str, compression: str | None, name: str) -> str:
    """Return the identity of a video: dataset, method, compression and name.

    A name alone is none: four methods of FaceForensics++ each have a ``000_003``. An identity is also
    a place below a folder of results, which it must not lead out of.

    Raises:
        DatasetLayoutError: A part of it is empty, ``.`` or ``..``.

    Example:
        >>> make_video_id("FaceForensics++", "Deepfakes", "c23", "000_003")
        'FaceForensics++/Deepfakes/c23/000_003'
    """
    video_id = "/".join(part for part in (dataset, method, compression, name) if part is not None)
    if not is_plain_path(video_id):
        raise DatasetLayoutError(
            f"video_id {video_id!r}", "has a part that is empty, . or ..", "rename what it is made of"
        )
    return video_id


def is_plain_path(name: str) -> bool:
    """Tell whether a name leads from a folder to a place below it, without detours.

    Example:
        >>> [is_plain_path(name) for name in ("a/b", "/a", "a//b", "../a")]
        [True, False, False, False]
    """
    return not {"", ".", ".."} & set(name.split("/"))


def list_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Return the visible files of a folder with one of the suffixes (any case), sorted by name."""
    if not folder.is_dir():
        return []
    wanted = frozenset(suffixes)
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in wanted and not path.name.startswith(".") and path.is_file()
    )


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def walk(folder: Path, *, skipped: Container[Path] = ()) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield a folder and those below it: folder, names of its files, names of what leads nowhere.

    Hidden names are left out, the others sorted. Links are followed, since copies of big datasets are
    often linked together, but into no folder twice and never upwards. A link to what is not there
    leads nowhere.

    Args:
        folder: Where to begin; nothing is yielded when it is absent.
        skipped: Folders that are left out with all below them.

    Raises:
        DatasetLayoutError: A folder cannot be listed.
    """
    if folder.is_dir():
        real = folder.resolve()
        # A link upwards would bring in what lies beside the folder, such as the other class.
        yield from _walk(folder, real, skipped, {real, *real.parents})


def _walk(
    folder: Path, real: Path, skipped: Container[Path], visited: set[Path]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """``real`` is the folder without links on the way to it, ``visited`` are such ones."""
    try:
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda one: one.name)
    except OSError as error:
        raise DatasetLayoutError(
            folder, f"cannot be listed ({error.strerror})", "make it readable"
        ) from error
    # Path copes with a link to itself, at the price of asking the disk, which others are spared.
    found = {entry.name: Path(entry) if entry.is_symlink() else entry for entry in visible}
    files = [name for name, entry in found.items() if entry.is_file()]
    folders = [name for name, entry in found.items() if entry.is_dir()]
    yield folder, files, sorted(found.keys() - {*files, *folders})
    for name in folders:
        path, entry = folder / name, found[name]
        target = entry.resolve() if isinstance(entry, Path) else real / name
        if path not in skipped and target not in visited:
            visited.add(target)
            yield from _walk(path, target, skipped, visited)


def check_folder_names(folder: Path, known: Iterable[str], *, dataset: str) -> list[Path]:
    """Refuse subfolders whose names are nearly, but not quite, those of the dataset.

    A class whose folder is misspelled would otherwise be missing in silence.

    Args:
        folder: Where to look; nothing is looked for when it is absent.
        known: Names the dataset has there.
        dataset: For the message.

    Returns:
        Subfolders that are no part of the dataset.

    Raises:
        DatasetLayoutError: A folder is misspelled; the message names the right one.
    """
    names = set(known)
    present = subfolders(folder)
    absent = names - {path.name for path in present}
    unknown = []
    for path in present:
        if path.name in names:
            continue
        meant = _nearest(path.name, sorted(absent))
        if meant is not None:
            raise DatasetLayoutError(path, f"is no folder of {dataset}", f"rename it to {meant}")
        unknown.append(path)
    return unknown


def nearly_named(folder: Path, known: Iterable[str]) -> list[str]:
    """Return the known names that subfolders have, exactly or misspelled, in the order known.

    For recognizing a tree whose reader shall name the right spelling.
    """
    names = list(known)
    meant = {_nearest(path.name, names) for path in subfolders(folder)}
    return [name for name in names if name in meant]


def _nearest(name: str, known: Iterable[str]) -> str | None:
    by_lower = {other.lower(): other for other in known}
    # By this measure a changed letter in a name of four, such as text for test, is another word.
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.8)
    close += [swapped for swapped in _with_letters_swapped(name.lower()) if swapped in by_lower]
    return by_lower[close[0]] if close else None


def _with_letters_swapped(name: str) -> Iterator[str]:
    """Yield a name with each two neighboring letters swapped; never digits: c32 is a level of its own."""
    for n in range(len(name) - 1):
        if name[n : n + 2].isalpha():
            yield name[:n] + name[n + 1] + name[n] + name[n + 2 :]


def check_options(
    options: ReadOptions, *, dataset: str, methods: Sequence[str], compressions: Sequence[str] = ()
) -> None:
    """Refuse options that do not fit a dataset whose labels are those of its folders.

    Args:
        options: What was asked for.
        dataset: For the message.
        methods: Forgery methods the dataset has.
        compressions: Compression levels it has; none where it has but one.

    Raises:
        OptionError: An option names nothing, or something the dataset does not have.
    """
    asked = {"methods": (options.methods, methods), "compressions": (options.compressions, compressions)}
    for option, (values, known) in asked.items():
        if values is None:
            continue
        if not known:
            raise OptionError(option, f"{dataset} has none to choose from", "leave it out")
        if not values:
            raise OptionError(option, "names none", "name at least one, or leave it out")
        for value in values:
            if value not in known:
                raise OptionError(option, f"{value!r} is unknown", f"choose from {', '.join(known)}")
    if options.fake_label is not None:
        raise OptionError("fake_label", f"{dataset} has its labels in its folders", "leave it out")


def filter_listing(
    listing: VideoListing, options: ReadOptions, *, fake_methods: Iterable[str] = ()
) -> VideoListing:
    """Keep what was asked for of a listing: the wanted forgery methods, and every real.

    Args:
        listing: All that was read.
        options: ``methods`` and ``compressions`` wanted; ``fake_label`` is not looked at.
        fake_methods: Forgery methods the dataset has, so that an unwanted one of which nothing is
            there is expected no more.

    Returns:
        The listing with fewer videos, missing videos and expected groups.

    Raises:
        OptionError: A wanted method or compression is not in this copy; the message names those that are.
    """
    if options.methods is None and options.compressions is None:
        return listing
    known = (*listing.videos, *listing.missing)
    check_options(
        replace(options, fake_label=None),
        dataset=known[0].dataset,
        methods=sorted({video.method for video in known if video.label == FAKE}),
        compressions=sorted({video.compression for video in known if video.compression}),
    )

    def is_wanted(video: DatasetVideo) -> bool:
        has_method = options.methods is None or video.label == REAL or video.method in options.methods
        return has_method and (options.compressions is None or video.compression in options.compressions)

    groups = {group_name(video): False for video in known}
    if options.methods is not None:
        groups |= {method: False for method in fake_methods if method not in options.methods}
    groups |= {group_name(video): True for video in known if is_wanted(video)}
    return replace(
        listing,
        videos=tuple(filter(is_wanted, listing.videos)),
        missing=tuple(filter(is_wanted, listing.missing)),
        num_expected={name: n for name, n in listing.num_expected.items() if groups.get(name, True)},
    )


def in_order(videos: Iterable[DatasetVideo]) -> tuple[DatasetVideo, ...]:
    """Return videos as a listing has them: reals first, then method by method, sorted by name."""
    return tuple(sorted(videos, key=lambda video: (video.label != REAL, video.method, video.video_id)))


def drop_non_utf8(listing: VideoListing) -> VideoListing:
    """Leave out what has a name that is no UTF-8, as old archives unpack them: no table can hold it.

    Returns:
        The listing without such files and folders; a note tells their number and one of them.

    Raises:
        DatasetLayoutError: No video is left.
    """
    unwritable = {
        *(v.path for v in (*listing.videos, *listing.missing) if not _is_text(v.path, v.video_id)),
        *(path for path in listing.ignored if not _is_text(path)),
    }
    if not unwritable:
        return listing
    videos = tuple(video for video in listing.videos if video.path not in unwritable)
    if listing.videos and not videos:
        raise DatasetLayoutError(
            as_text(str(listing.videos[0].path.absolute())),
            f"is no UTF-8, as are the places of all {len(listing.videos):,} videos",
            "rename files and folders",
        )
    note = f"left out because their names are no UTF-8: {len(unwritable):,}, such as {min(unwritable)}"
    return replace(
        listing,
        videos=videos,
        missing=tuple(video for video in listing.missing if video.path not in unwritable),
        ignored=tuple(path for path in listing.ignored if path not in unwritable),
        notes=tuple(as_text(text) for text in (*listing.notes, note)),
    )


def _is_text(path: Path, video_id: str = "") -> bool:
    return _NO_TEXT.search(f"{path.absolute()} {video_id}") is None


def as_text(words: str) -> str:
    """Return words with each byte of a file name that is no UTF-8 spelt out, so that they can be printed.

    Example:
        >>> as_text(os.fsdecode(b"b\\xfc.mp4"))
        'b\\\\udcfc.mp4'
    """
    return words.encode("utf-8", "backslashreplace").decode()


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return each path's name without its suffix; kept where another path differs only in it.

    Args:
        paths: Unlike one another, with ``/`` between folders; a folder has no suffix to lose.

    Example:
        >>> short_names(["a/1.mp4", "b/1.mp4", "b/2.mp4", "b/2.avi"])
        {'a/1.mp4': 'a/1', 'b/1.mp4': 'b/1', 'b/2.mp4': 'b/2.mp4', 'b/2.avi': 'b/2.avi'}
    """
    media = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    short = {path: path for path in paths}
    for path in short:
        suffix = PurePosixPath(path).suffix
        if suffix.lower() in media:
            short[path] = path[: -len(suffix)]
    uses = Counter(short.values())
    # A shortened name may also be what another path is called in full.
    return {path: name if uses[name] == 1 and name not in short else path for path, name in short.items()}
