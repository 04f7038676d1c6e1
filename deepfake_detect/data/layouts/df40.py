"""DF40 (arXiv:2406.13495): forty forgery methods, as the face crops or the videos its owners publish.

    <method>/{ff,cdf}/frames/<video>/*.png          swaps and reenactments, next to landmarks/
    <method>/{ff,cdf}/…/<person>/*.png              entire faces synthesized for a person
    <method>/frames/<video>/*.png                   the training release: no ff or cdf, all of it ff
    <method>/{fake,real}/…/*.png                    methods with their own reals

Videos (*.mp4) may replace the folders of images. ``ff`` means made from FaceForensics++, ``cdf`` from
Celeb-DF-v2, even if a folder in it has the name ``Celeb-real``: only files below ``real`` are real
(label 0); files below the other folders named here are fake (1). The reals of the other methods are
those of FaceForensics++ and Celeb-DF-v2 and must be read from those datasets.

A row is a folder of images or a video; for methods that make single images, an image. Names such as
``000_003`` and ``id0_id1_0000`` contain the identities; the first is the target, as in the datasets
they come from. Fakes made from FaceForensics++ have the official split of their identities in that
dataset, or none if those are in two splits. The owners use everything else for tests only. Names of
absent videos are not published. Reals of a method are named after it, with ``_real``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    in_order,
    new_video,
    subfolders,
    walk,
)
from deepfake_detect.data.layouts.ffpp import official_split_of_identity
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo
from deepfake_detect.video.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

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
# Other names that the owners use for a folder, in lower case.
_ALIASES = {"heygen_new": "heygen", "whichisreal": "whichfaceisreal", "stargan2": "starganv2"}
_METHOD_OF = {**{method.lower(): method for method in METHODS}, **_ALIASES}
_RELEASES = ("DF40", "DF40_train", "test", "train")
_DOMAINS = {"ff": "FaceForensics++", "cdf": "Celeb-DF-v2"}
_LABELS = {"fake": FAKE, "real": REAL, "real_mp4": REAL}
_SKIPPED = ("landmarks", "masks", "__MACOSX")
# Images directly in one of these are not the frames of one video.
_CONTAINERS = re.compile(
    r"frames|inversions|(Fake_from_)?(Celeb|You[Tt]ube)-real|" + "|".join((*_DOMAINS, *_LABELS))
)
_PEOPLE = {
    "ff": re.compile(r"(?P<target>\d{3})(_(?P<source>\d{3}))?"),
    "cdf": re.compile(r"(?P<target>id\d+)(_(?P<source>id\d+))?_\d+|(?P<unnamed>\d{5})"),
}


def _list(root: Path, selection: Selection) -> VideoListing:
    homes, ignored = _method_folders(root)
    if not homes:
        cause = f"contains none of its methods: {', '.join(METHODS)}"
        raise DatasetLayoutError(root, cause, "pass the folder that contains the methods' folders")
    videos: dict[str, DatasetVideo] = {}
    num_repeated = 0
    for method, home in homes:
        if method in (selection.methods or METHODS):
            unknown = _unknown_folders(home)
            ignored += unknown
            for path in _items(home, skipped=unknown):
                video = _make_video(path, home, method)
                num_repeated += videos.setdefault(video.video_id, video) is not video
    if not videos:
        raise DatasetLayoutError(
            root, f"contains neither images nor videos of {DATASET}", "unpack the methods' archives"
        )
    notes = tuple(_notes(list(videos.values()), num_repeated))
    return VideoListing(in_order(videos.values()), ignored=tuple(ignored), notes=notes)


def _method_folders(root: Path) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Return (method, folder) in all releases at and below the root, and folders that are not read."""
    homes: list[tuple[str, Path]] = []
    ignored: list[Path] = []
    for release in (root, *(root / name for name in _RELEASES)):
        found = _named_as_methods(release)
        for path in found:
            # Some archives contain the method's folder twice, nested.
            homes += ((_METHOD_OF[path.name.lower()], home) for home in (path, *_named_as_methods(path)))
        known = (*METHODS, *(path.name for path in found), *_RELEASES)
        ignored += check_folder_names(release, known, dataset=DATASET)
    return homes, ignored


def _named_as_methods(folder: Path) -> list[Path]:
    return [path for path in subfolders(folder) if path.name.lower() in _METHOD_OF]


def _unknown_folders(home: Path) -> list[Path]:
    """Return folders of a method whose names do not determine a label."""
    unknown = check_folder_names(home, (*_DOMAINS, *_LABELS, *_SKIPPED, "frames"), dataset=DATASET)
    nested = _named_as_methods(home)
    return [path for path in unknown if path not in nested and not _PEOPLE["ff"].fullmatch(path.name)]


def _items(home: Path, *, skipped: Sequence[Path]) -> Iterator[Path]:
    """Yield the videos, folders of frames and single images of a method, sorted."""
    for folder, names, _ in walk(home, skipped={*skipped, *_named_as_methods(home)}):
        if folder.name in _SKIPPED or folder.parent.name in _SKIPPED:
            continue
        images = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        yield from (folder / name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES)
        if folder == home or _CONTAINERS.fullmatch(folder.name):
            yield from (folder / name for name in images)
        elif images:
            yield folder


def _make_video(path: Path, home: Path, method: str) -> DatasetVideo:
    name = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    parents = path.relative_to(home).parts[:-1]
    labels = {_LABELS[part] for part in parents if part in _LABELS}
    if len(labels) > 1:
        raise DatasetLayoutError(path, "is below both real and fake", "unpack its archive again")
    # The training release has neither domain nor label in its paths.
    domain = next((part for part in parents if part in _DOMAINS), None if labels else "ff")
    target, source = _people(name, domain)
    row_method = f"{method}_real" if labels == {REAL} else method
    inner = [part for part in parents if part not in (domain, "frames", *_LABELS)]
    return new_video(
        DATASET,
        row_method,
        "/".join((*filter(None, [domain]), *inner, name)),
        path,
        label=REAL if labels == {REAL} else FAKE,
        split=_split(target, source) if domain == "ff" else "test",
        target_id=target,
        source_id=source,
    )


def _people(name: str, domain: str | None) -> tuple[str | None, str | None]:
    """Return target and source in a name, each ``None`` if it does not contain one."""
    match = _PEOPLE[domain].fullmatch(name) if domain else None
    if match is None or domain is None:
        return None, None
    found = match.groupdict()
    if found.get("unnamed"):
        # As in Celeb-DF-v2 itself: the person in a YouTube video occurs in that video only.
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
        yield "no reals were found: read those of FaceForensics++ for ff and Celeb-DF-v2 for cdf"
    num_divided = sum(video.split is None and video.source_id is not None for video in videos)
    if num_divided:
        yield f"{num_divided:,} fakes combine people of two official FaceForensics++ splits: they have none"
    if num_repeated:
        yield f"{num_repeated:,} have the name of another, such as one of another release: left out"


def _recognize(root: Path) -> str | None:
    for release in (root, *(root / name for name in _RELEASES)):
        inner = (*_DOMAINS, *_LABELS, "frames")
        known = [p.name for p in _named_as_methods(release) if any((p / part).is_dir() for part in inner)]
        if known:
            return f"folders of its methods: {', '.join(known[:5])}{', …' if len(known) > 5 else ''}"
    return None


LAYOUT = Layout(
    name="df40",
    dataset=DATASET,
    summary="<method>/{ff,cdf}/…/<video>/*.png, <method>/frames/<video>/*.png, <method>/{fake,real}/…",
    label_source="folders: files below real are 0, all others 1",
    split_source="ff: official FaceForensics++ pairs; everything else is test, as its owners use it",
    published="40 methods: 10 swap, 13 reenact, 12 synthesize, 5 edit; 31 use reals of other datasets",
    source="YZY-stack/DF40, README; arXiv:2406.13495",
    recognize=_recognize,
    list_videos=_list,
    methods=METHODS,
    is_selecting=True,
)
