"""DF40 (arXiv:2406.13495): forty forgery methods, as the face crops or the videos its owners share.

    <method>/{ff,cdf}/frames/<video>/*.png          swaps and reenactments; landmarks/ lie beside
    <method>/{ff,cdf}/…/<person>/*.png              whole faces made for a person
    <method>/frames/<video>/*.png                   the training release: no ff or cdf, all of it ff
    <method>/{fake,real}/…/*.png                    methods that bring their own reals

Videos (*.mp4) may stand in place of the folders of pictures. ``ff`` means made from FaceForensics++,
``cdf`` from Celeb-DF-v2, also where a folder there is called ``Celeb-real``: only what lies below
``real`` is real (label 0); what lies below the other folders named here is fake (1). The reals of
the other methods are those of FaceForensics++ and Celeb-DF-v2 and are read from there.

A row is a folder of pictures or a video; of methods that make single pictures, a picture. Names
such as ``000_003`` and ``id0_id1_0000`` tell the people; the first is taken for the target, as in
the datasets they come from. What is made from FaceForensics++ goes where its people are in the
official split of that dataset, nowhere when they are in two parts. All else the owners use for
tests only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Layout,
    ReadOptions,
    VideoListing,
    check_folder_names,
    check_options,
    in_order,
    make_video_id,
    subfolders,
    walk,
)
from deepfake_detect.data.layouts.ffpp import official_split_of_identity
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "DF40"
METHODS = (
    # face swapping
    *("fsgan", "faceswap", "simswap", "inswap", "blendface", "uniface", "mobileswap", "e4s"),
    *("facedancer", "deepfacelab"),
    # face reenactment
    *("fomm", "facevid2vid", "wav2lip", "MRAA", "one_shot_free", "pirender", "tpsm", "lia", "danet"),
    *("sadtalker", "mcnet", "hyperreenact", "heygen"),
    # entire face synthesis
    *("VQGAN", "StyleGAN2", "StyleGAN3", "StyleGANXL", "sd2.1", "ddim", "RDDM", "pixart", "DiT", "SiT"),
    *("MidJourney", "whichfaceisreal"),
    # face editing
    *("CollabDiff", "e4e", "stargan", "starganv2", "styleclip"),
)
# Folders that the owners call otherwise in other places, in lower case.
_ALIASES = {"heygen_new": "heygen", "whichisreal": "whichfaceisreal", "stargan2": "starganv2"}
_METHOD_OF = {**{method.lower(): method for method in METHODS}, **_ALIASES}
_RELEASES = ("DF40", "DF40_train", "test", "train")
_DOMAINS = {"ff": "FaceForensics++", "cdf": "Celeb-DF-v2"}
_LABELS = {"fake": FAKE, "real": REAL, "real_mp4": REAL}
_SKIPPED = ("landmarks", "masks", "__MACOSX")
# Pictures right in one of these are no frames of one video.
_CONTAINERS = re.compile(
    r"frames|inversions|(Fake_from_)?(Celeb|You[Tt]ube)-real|" + "|".join((*_DOMAINS, *_LABELS))
)
_PEOPLE = {
    "ff": re.compile(r"(?P<target>\d{3})(_(?P<source>\d{3}))?"),
    "cdf": re.compile(r"(?P<target>id\d+)(_(?P<source>id\d+))?_\d+|(?P<unnamed>\d{5})"),
}


def read(root: Path, options: ReadOptions) -> VideoListing:
    """List what a copy of DF40 holds, complete or partial.

    Args:
        root: Folder of the methods, or the one that holds the releases ``DF40`` and ``DF40_train``.
        options: Methods wanted; reals that a method brings come along, under the method's name
            with ``_real``.

    Returns:
        Videos, folders of frames and pictures found, with labels (fake = 1), splits and identities
        such as ``FaceForensics++:003`` and ``Celeb-DF-v2:id1``. Names of absent ones are not known.

    Raises:
        DatasetLayoutError: The tree is of another kind, a folder is misspelled, something lies below
            both fake and real, or nothing is there.
        OptionError: An option that does not fit.
    """
    check_options(options, dataset=DATASET, methods=METHODS)
    homes, ignored = _method_folders(root)
    videos: dict[str, DatasetVideo] = {}
    num_repeated = 0
    for method, home in homes:
        if method in (options.methods or METHODS):
            unknown = _unknown_folders(home)
            ignored += unknown
            for path in _items(home, skipped=unknown):
                video = _make_video(path, home, method)
                num_repeated += videos.setdefault(video.video_id, video) is not video
    if not videos:
        raise DatasetLayoutError(
            root, "holds neither pictures nor videos of it", "unpack the methods' archives"
        )
    return VideoListing(
        videos=in_order(videos.values()),
        ignored=tuple(ignored),
        notes=tuple(_notes(list(videos.values()), num_repeated)),
    )


def _method_folders(root: Path) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Return (method, folder) in all releases at and below the root, and folders of no meaning here."""
    if not root.is_dir():
        raise DatasetLayoutError(root, "is not a folder", f"pass the folder of the {DATASET} methods")
    homes: list[tuple[str, Path]] = []
    ignored: list[Path] = []
    for release in (root, *(root / name for name in _RELEASES)):
        found = _named_as_methods(release)
        for path in found:
            # Some archives have the method's folder once more inside.
            homes += ((_METHOD_OF[path.name.lower()], home) for home in (path, *_named_as_methods(path)))
        known = (*METHODS, *(path.name for path in found), *_RELEASES)
        ignored += check_folder_names(release, known, dataset=DATASET)
    if not homes:
        cause = f"holds none of its methods: {', '.join(METHODS)}"
        raise DatasetLayoutError(root, cause, "pass the folder that holds the methods' folders")
    return homes, ignored


def _named_as_methods(folder: Path) -> list[Path]:
    return [path for path in subfolders(folder) if path.name.lower() in _METHOD_OF]


def _unknown_folders(home: Path) -> list[Path]:
    """Return folders of a method whose label cannot be told by their names."""
    unknown = check_folder_names(home, (*_DOMAINS, *_LABELS, *_SKIPPED, "frames"), dataset=DATASET)
    nested = _named_as_methods(home)
    return [path for path in unknown if path not in nested and not _PEOPLE["ff"].fullmatch(path.name)]


def _items(home: Path, *, skipped: Sequence[Path]) -> Iterator[Path]:
    """Yield the videos, folders of frames and single pictures of a method, sorted."""
    for folder, names, _ in walk(home, skipped={*skipped, *_named_as_methods(home)}):
        if folder.name in _SKIPPED or folder.parent.name in _SKIPPED:
            continue
        pictures = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        yield from (folder / name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES)
        if folder == home or _CONTAINERS.fullmatch(folder.name):
            yield from (folder / name for name in pictures)
        elif pictures:
            yield folder


def _make_video(path: Path, home: Path, method: str) -> DatasetVideo:
    name = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    parents = path.relative_to(home).parts[:-1]
    labels = {_LABELS[part] for part in parents if part in _LABELS}
    if len(labels) > 1:
        raise DatasetLayoutError(path, "lies below both real and fake", "unpack its archive again")
    # The training release has neither domain nor label in its tree.
    domain = next((part for part in parents if part in _DOMAINS), None if labels else "ff")
    target, source = _people(name, domain)
    row_method = f"{method}_real" if labels == {REAL} else method
    told = [part for part in parents if part not in (domain, "frames", *_LABELS)]
    return DatasetVideo(
        dataset=DATASET,
        video_id=make_video_id(DATASET, row_method, None, "/".join((*filter(None, [domain]), *told, name))),
        method=row_method,
        label=REAL if labels == {REAL} else FAKE,
        split=_split(target, source) if domain == "ff" else "test",
        compression=None,
        target_id=target,
        source_id=source,
        path=path,
    )


def _people(name: str, domain: str | None) -> tuple[str | None, str | None]:
    """Return target and source as a name tells them, each ``None`` where it does not."""
    match = _PEOPLE[domain].fullmatch(name) if domain else None
    if match is None or domain is None:
        return None, None
    found = match.groupdict()
    if found.get("unnamed"):
        # As Celeb-DF-v2 itself is read: whoever is in a YouTube video is that video's own person.
        return f"{_DOMAINS[domain]}:YouTube-real/{name}", None
    target, source = found["target"], found["source"]
    return f"{_DOMAINS[domain]}:{target}", f"{_DOMAINS[domain]}:{source}" if source else None


def _split(target: str | None, source: str | None) -> str | None:
    """Return the official FaceForensics++ split that both people are in, if there is one."""
    people = [person.partition(":")[2] for person in (target, source) if person is not None]
    splits = {official_split_of_identity().get(person) for person in people}
    return splits.pop() if len(splits) == 1 else None


def _notes(videos: list[DatasetVideo], num_repeated: int) -> Iterator[str]:
    if not any(video.label == REAL for video in videos):
        yield "no real is here: read those of FaceForensics++ for ff and of Celeb-DF-v2 for cdf"
    num_torn = sum(video.split is None and video.source_id is not None for video in videos)
    if num_torn:
        yield f"{num_torn:,} fakes join people of two official FaceForensics++ splits: they have none"
    if num_repeated:
        yield f"{num_repeated:,} are called as others are, such as those of another release: left out"


def _recognize(root: Path) -> str | None:
    for release in (root, *(root / name for name in _RELEASES)):
        inner = (*_DOMAINS, *_LABELS, "frames")
        known = [p.name for p in _named_as_methods(release) if any((p / part).is_dir() for part in inner)]
        if known:
            return f"folders of its methods: {', '.join(known[:5])}{', …' if len(known) > 5 else ''}"
    return None


LAYOUT = Layout(
    kind="df40",
    dataset=DATASET,
    summary="<method>/{ff,cdf}/…/<video>/*.png, <method>/frames/<video>/*.png, <method>/{fake,real}/…",
    label_source="folders: what lies below real is 0, all else 1",
    split_source="ff: official FaceForensics++ pairs; all else is test, as its owners use it",
    published="40 methods: 10 swap, 13 reenact, 12 make whole faces, 5 edit; 31 use reals of other datasets",
    recognize=_recognize,
    read=read,
)
