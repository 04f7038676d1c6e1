"""Interface of a dataset layout, and the steps common to all readers."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.video.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

# Name of a split in folders and columns, in lower case -> its name here.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# Python keeps the bytes of a file name that is not UTF-8 as these; a table cannot hold them.
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Selection:
    """Which videos of a dataset to read; see :class:`data.options.ReadingOptions`."""

    methods: tuple[str, ...] | None = None
    compressions: tuple[str, ...] | None = None
    fake_label: str | None = None


EVERYTHING = Selection()


@dataclass(frozen=True)
class VideoListing:
    """The videos of a dataset that a folder holds, and those it lacks.

    Attributes:
        videos: Videos that are present, reals first, then by method, sorted by name.
        missing: Videos that the dataset is known to have by name and that are absent (``path`` is
            where they belong).
        num_expected: Number of videos of the dataset by group (see :func:`group_name`), where its
            owners publish it; includes groups of which nothing is present.
        ignored: Files and folders that are not part of the dataset.
        notes: Remarks on the listing, one line each.
    """

    videos: tuple[DatasetVideo, ...]
    missing: tuple[DatasetVideo, ...] = ()
    num_expected: Mapping[str, int] = field(default_factory=dict)
    ignored: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, tuple[int, int | None]]:
        """Return by group: (videos present, videos of the dataset or ``None`` if not published)."""
        found = Counter(group_name(video) for video in self.videos)
        groups = [*self.num_expected, *(name for name in found if name not in self.num_expected)]
        return {name: (found[name], self.num_expected.get(name)) for name in groups}


@dataclass(frozen=True)
class Layout:
    """A dataset layout: how to recognize and read it.

    Attributes:
        name: Short name, as the option ``dataset`` takes it.
        dataset: Name of the dataset, as its papers write it.
        summary: The folders in one line.
        label_source: Where labels come from, and with which polarity.
        split_source: Where the official split comes from, or that there is none.
        published: Published sizes in one line.
        source: Where the layout and the sizes are from: a repository, a paper, a page.
        recognize: Returns the evidence in one line that a folder or file has this layout, or ``None``.
            It looks at names only, and also knows a tree with one misspelled or absent folder.
        list_videos: Lists the videos of a folder or file; called by :meth:`read`, which checks the
            root and the selection and applies the selection to the listing.
        methods: Forgery methods of the dataset; empty if they depend on the copy.
        compressions: Compression levels of the dataset; empty if it has only one or they depend on the
            copy.
        is_selecting: Whether ``list_videos`` applies the selection itself. If so, the selection must
            name ``methods`` and ``compressions``; otherwise it must name what the copy holds.
        takes_file: Whether it is a list of videos, so that the root may be a file.
        takes_fake_label: Whether ``fake_label`` selects the label that means fake.
        is_generic: Whether it fits many datasets, so that all other layouts are tried before it.
    """

    name: str
    dataset: str
    summary: str
    label_source: str
    split_source: str
    published: str
    recognize: Callable[[Path], str | None]
    list_videos: Callable[[Path, Selection], VideoListing]
    methods: tuple[str, ...] = ()
    compressions: tuple[str, ...] = ()
    is_selecting: bool = False
    source: str = "-"
    takes_file: bool = False
    takes_fake_label: bool = False
    is_generic: bool = False

    def read(self, root: Path, selection: Selection = EVERYTHING) -> VideoListing:
        """List the selected videos of a dataset, complete or partial, in its folder as downloaded.

        Raises:
            DatasetLayoutError: The root is not a folder of this dataset, a folder is misspelled,
                labels contradict each other, or there is no video.
            OptionError: The selection does not fit the dataset.
        """
        if not root.is_dir() and not (self.takes_file and root.is_file()):
            raise DatasetLayoutError(root, "is not a folder", f"pass the folder of {self.dataset}")
        if selection.fake_label is not None and not self.takes_fake_label:
            raise OptionError(
                "fake_label", f"applies only to CSV files, and this is {self.dataset}", "omit it"
            )
        if self.is_selecting:
            check_selection(selection, self.dataset, self.methods, self.compressions)
            return self.list_videos(root, selection)
        return filter_listing(self.list_videos(root, selection), selection, fake_methods=self.methods)


def group_name(video: DatasetVideo) -> str:
    """Return the group a video is counted in: its method, and its compression where known."""
    return f"{video.method} {video.compression}" if video.compression else video.method


def make_video_id(dataset: str, method: str, compression: str | None, name: str) -> str:
    """Return the unique id of a video: dataset, method, compression and name.

    A name alone is not unique: four methods of FaceForensics++ each have a ``000_003``. An id is also
    a path below a folder of results, and must not lead out of it.

    Raises:
        DatasetLayoutError: A part of it is empty, ``.`` or ``..``.

    Example:
        >>> make_video_id("FaceForensics++", "Deepfakes", "c23", "000_003")
        'FaceForensics++/Deepfakes/c23/000_003'
    """
    video_id = "/".join(part for part in (dataset, method, compression, name) if part is not None)
    if not is_plain_path(video_id):
        raise DatasetLayoutError(
            f"video_id {video_id!r}",
            "has a part that is empty, . or ..",
            "rename the folder or file that it comes from",
        )
    return video_id


def new_video(
    dataset: str,
    method: str,
    name: str,
    path: Path,
    *,
    label: int,
    split: str | None = None,
    compression: str | None = None,
    target_id: str | None = None,
    source_id: str | None = None,
    mask_path: Path | None = None,
    group_id: str | None = None,
    fake_segments: tuple[tuple[float, float], ...] | None = None,
) -> DatasetVideo:
    """Return a video whose id is made of its names, see :func:`make_video_id`."""
    video_id = make_video_id(dataset, method, compression, name)
    return DatasetVideo(
        dataset=dataset,
        video_id=video_id,
        method=method,
        label=label,
        split=split,
        compression=compression,
        target_id=target_id,
        source_id=source_id,
        path=path,
        mask_path=mask_path,
        group_id=group_id,
        fake_segments=fake_segments,
    )


def is_plain_path(name: str) -> bool:
    """Return whether a name is a path below a folder, without empty parts, ``.`` and ``..``.

    Example:
        >>> [is_plain_path(name) for name in ("a/b", "/a", "a//b", "../a")]
        [True, False, False, False]
    """
    return not {"", ".", ".."} & set(name.split("/"))


def list_files(folder: Path, suffixes: Iterable[str] = VIDEO_SUFFIXES) -> list[Path]:
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


def videos_folder(folder: Path) -> Path:
    """Return ``folder/videos`` if it exists, as benchmarks move videos there, else the folder."""
    return folder / "videos" if (folder / "videos").is_dir() else folder


def walk(folder: Path, *, skipped: Container[Path] = ()) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield a folder and those below it: folder, names of its files, names of its broken links.

    Hidden names and ``skipped`` folders are left out, the others sorted. Links are followed, since copies
    of big datasets are often linked together, but no folder is visited twice and no link leads upwards.
    """
    if folder.is_dir():
        real = folder.resolve()
        # A link upwards would bring in the siblings of the folder, such as the other class.
        yield from _walk(folder, real, skipped, {real, *real.parents})


def _walk(
    folder: Path, real: Path, skipped: Container[Path], visited: set[Path]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk on; ``real`` is the folder with its links resolved, ``visited`` holds such folders."""
    try:
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda one: one.name)
    except OSError as error:
        raise DatasetLayoutError(
            folder, f"cannot be listed ({error.strerror})", "make it readable"
        ) from error
    # Path copes with a link to itself but asks the disk, which is avoided for everything else.
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
    """Raise if a subfolder's name is nearly, but not exactly, one of the dataset's.

    Otherwise a class whose folder is misspelled would be missing without a word. Returns the subfolders
    that are not part of the dataset.
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
            raise DatasetLayoutError(path, f"is not a folder of {dataset}", f"rename it to {meant}")
        unknown.append(path)
    return unknown


def nearly_named(folder: Path, known: Iterable[str]) -> list[str]:
    """Return the known names that subfolders have, exactly or misspelled, in the order of ``known``.

    With it a tree is recognized whose reader then names the right spelling.
    """
    names = list(known)
    meant = {_nearest(path.name, names) for path in subfolders(folder)}
    return [name for name in names if name in meant]


def folder_marks(folder: Path, known: Iterable[str]) -> list[str]:
    """Return the names of :func:`nearly_named` as evidence of a layout: ``["real/", "fake/"]``."""
    return [f"{name}/" for name in nearly_named(folder, known)]


def _nearest(name: str, known: Iterable[str]) -> str | None:
    by_lower = {other.lower(): other for other in known}
    # At this cutoff one changed letter in a name of four, such as text for test, is another word.
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.8)
    close += [swapped for swapped in _with_letters_swapped(name.lower()) if swapped in by_lower]
    return by_lower[close[0]] if close else None


def _with_letters_swapped(name: str) -> Iterator[str]:
    """Yield a name with each two neighboring letters swapped; never digits: c32 is a level of its own."""
    for n in range(len(name) - 1):
        if name[n : n + 2].isalpha():
            yield name[:n] + name[n + 1] + name[n] + name[n + 2 :]


def check_selection(
    selection: Selection, dataset: str, methods: Iterable[str], compressions: Iterable[str]
) -> None:
    """Raise if a selection is empty, or names other than the given methods and compression levels."""
    wanted = {
        "methods": (selection.methods, tuple(methods)),
        "compression": (selection.compressions, tuple(compressions)),
    }
    for name, (values, known) in wanted.items():
        if values is None:
            continue
        if not known:
            raise OptionError(name, f"{dataset} has none to choose from", "omit it")
        if not values:
            raise OptionError(name, "is empty", "list at least one, or omit it")
        if unknown := [value for value in values if value not in known]:
            raise OptionError(name, f"{unknown[0]!r} is unknown", f"must be one of {', '.join(known)}")


def filter_listing(
    listing: VideoListing, selection: Selection, *, fake_methods: Iterable[str] = ()
) -> VideoListing:
    """Keep the selected videos of a listing: the wanted forgery methods, and every real.

    Of ``fake_methods``, those of the dataset, an unwanted one is no longer expected, even if nothing of it
    is present. A wanted one that this copy lacks is an error.
    """
    if selection.methods is None and selection.compressions is None:
        return listing
    known = (*listing.videos, *listing.missing)
    methods = sorted({video.method for video in known if video.label == FAKE})
    compressions = sorted({video.compression for video in known if video.compression})
    check_selection(selection, known[0].dataset, methods, compressions)

    def is_wanted(video: DatasetVideo) -> bool:
        has_method = selection.methods is None or video.label == REAL or video.method in selection.methods
        return has_method and (selection.compressions is None or video.compression in selection.compressions)

    groups = {group_name(video): False for video in known}
    if selection.methods is not None:
        groups |= {method: False for method in fake_methods if method not in selection.methods}
    groups |= {group_name(video): True for video in known if is_wanted(video)}
    return replace(
        listing,
        videos=tuple(filter(is_wanted, listing.videos)),
        missing=tuple(filter(is_wanted, listing.missing)),
        num_expected={name: n for name, n in listing.num_expected.items() if groups.get(name, True)},
    )


def in_order(videos: Iterable[DatasetVideo]) -> tuple[DatasetVideo, ...]:
    """Return videos in the order of a listing: reals first, then by method, sorted by name."""
    return tuple(sorted(videos, key=lambda video: (video.label != REAL, video.method, video.video_id)))


def note_absent(methods: Iterable[str], videos: Iterable[DatasetVideo]) -> list[str]:
    """Return a note for each method of which no video is present."""
    present = {video.method for video in videos}
    return [f"no video of {method} was found" for method in methods if method not in present]


def drop_non_utf8(listing: VideoListing) -> VideoListing:
    """Leave out files whose names are not UTF-8, as old archives unpack them: no table can hold those."""
    unwritable = {
        *(v.path for v in (*listing.videos, *listing.missing) if not _is_utf8(v.path, v.video_id)),
        *(path for path in listing.ignored if not _is_utf8(path)),
    }
    if not unwritable:
        return listing
    videos = tuple(video for video in listing.videos if video.path not in unwritable)
    if listing.videos and not videos:
        raise DatasetLayoutError(
            as_text(str(listing.videos[0].path.absolute())),
            f"is not UTF-8, like the paths of all {len(listing.videos):,} videos",
            "rename files and folders",
        )
    note = f"left out because their names are not UTF-8: {len(unwritable):,}, such as {min(unwritable)}"
    return replace(
        listing,
        videos=videos,
        missing=tuple(video for video in listing.missing if video.path not in unwritable),
        ignored=tuple(path for path in listing.ignored if path not in unwritable),
        notes=tuple(as_text(text) for text in (*listing.notes, note)),
    )


def _is_utf8(path: Path, video_id: str = "") -> bool:
    return _SURROGATES.search(f"{path.absolute()} {video_id}") is None


def as_text(text: str) -> str:
    r"""Return text with each byte of a file name that is not UTF-8 as an escape, so that it can be printed.

    Example:
        >>> as_text(os.fsdecode(b"b\xfc.mp4"))
        'b\\udcfc.mp4'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return each path's name without its suffix, which is kept where another path differs only in it.

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
    # A shortened name may equal another path's full name.
    return {path: name if uses[name] == 1 and name not in short else path for path, name in short.items()}
