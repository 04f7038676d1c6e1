"""WildDeepfake (ACM MM 2020): sequences of faces from the internet, as images, without videos.

    {real,fake}_{train,test}/<number>.tar.gz        shards, also below a folder deepfake_in_the_wild
        <video>/{real,fake}/<sequence>/<frame>.png  inside, or unpacked next to the shards

A row is a sequence of 224 x 224 PNGs; the number of an image is its index in the video. Label and
split are those of the outermost folder (fake = 1), which the inner one must not contradict. The path
of a sequence in a shard continues inside the archive. Shards are plain tar in spite of their name;
gzipped ones are read too. Identities are not known, but sequences of one video are one group. There
is no val split. The number of sequences is published, their names are not.

A shard that cannot be read, such as an incomplete download, is left out, listed as ignored and named
in a note with its cause; the other shards are read.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path, PurePosixPath

from deepfake_detect.data.layouts.base import (
    Layout,
    Selection,
    VideoListing,
    check_folder_names,
    list_files,
    nearly_named,
    new_video,
    walk,
)
from deepfake_detect.errors import DatasetLayoutError
from deepfake_detect.records import FAKE, REAL, DatasetVideo

DATASET = "WildDeepfake"
_LABELS = {"real": REAL, "fake": FAKE}
_FOLDERS = {f"{word}_{split}": (word, split) for word in _LABELS for split in ("train", "test")}
_TOP = "deepfake_in_the_wild"
_SHARD_ENDINGS = (".tar.gz", ".tgz", ".tar")
_NUM_SEQUENCES = {"real": 3805, "fake": 3509}


def _list(root: Path, _: Selection) -> VideoListing:
    top = next((folder for folder in (root, root / _TOP) if nearly_named(folder, _FOLDERS)), None)
    if top is None:
        cause = f"contains none of {', '.join(_FOLDERS)}"
        raise DatasetLayoutError(root, cause, f"pass the folder {_TOP} of the download")
    ignored = check_folder_names(top, _FOLDERS, dataset=DATASET)
    notes: list[str] = []
    videos: dict[str, DatasetVideo] = {}
    num_repeated = 0
    for name in [name for name in _FOLDERS if (top / name).is_dir()]:
        folders = [path for path, files, _ in walk(top / name) if any(map(_is_image, files))]
        found = [(path, path.relative_to(top / name).parts) for path in folders]
        for shard in list_files(top / name, {".gz", ".tgz", ".tar"}):
            if not shard.name.endswith(_SHARD_ENDINGS):
                continue
            try:
                found += [(shard / inner, _named_parts(shard, inner)) for inner in _folders_in_shard(shard)]
            except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
                ignored.append(shard)
                # tarfile writes one line for each kind of archive that it is not.
                cause = str(error).partition("\n")[0].rstrip(":")
                notes.append(f"{shard} cannot be read and is left out ({cause}): download it again")
        for video in [_make_video(path, parts, name) for path, parts in found]:
            num_repeated += videos.setdefault(video.video_id, video) is not video
    if not videos:
        cause = "; ".join(notes) or f"{top} has neither shards nor folders of PNGs"
        raise DatasetLayoutError(
            root, f"contains no sequence of {DATASET}: {cause}", f"put shards into {top}/fake_train"
        )
    if num_repeated:
        notes.append(f"{num_repeated:,} sequences are both unpacked and in a shard: read unpacked")
    return VideoListing(tuple(videos.values()), (), _NUM_SEQUENCES, tuple(ignored), tuple(notes))


def _folders_in_shard(shard: Path) -> list[PurePosixPath]:
    """Return the folders inside a shard that hold PNGs themselves, sorted."""
    with tarfile.open(shard) as members:
        paths = [PurePosixPath(member.name) for member in members if member.isfile()]
        # tarfile takes a file that stops right after an image for complete. Reading to the end also
        # verifies the checksum of a gzipped one.
        if members.fileobj is not None:
            members.fileobj.seek(members.offset)
            if len(members.fileobj.read(-1)) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("no end mark")
    return sorted({path.parent for path in paths if _is_image(path.name)})


def _named_parts(shard: Path, inner: PurePosixPath) -> tuple[str, ...]:
    """Return the parts of a sequence's name; the first is the number of the shard."""
    number = shard.name.partition(".")[0]
    return inner.parts if inner.parts[:1] == (number,) else (number, *inner.parts)


def _is_image(name: str) -> bool:
    return name.lower().endswith(".png") and not name.startswith(".")


def _make_video(path: Path, parts: tuple[str, ...], folder: str) -> DatasetVideo:
    """Return the row of a sequence with the path ``parts`` in ``folder``, such as 3, fake, 54."""
    word, split = _FOLDERS[folder]
    for part in parts:
        if part in _LABELS and part != word:
            cause = f"is named {part} but is in {folder}"
            raise DatasetLayoutError(path, cause, "unpack its shard again, in the folder it came in")
    name = "/".join((split, *(part for part in parts if part != word)))
    group = f"{word}/{name.rpartition('/')[0]}"
    return new_video(DATASET, word, name, path, label=_LABELS[word], split=split, group_id=group)


def _recognize(root: Path) -> str | None:
    found = nearly_named(root, _FOLDERS) or nearly_named(root / _TOP, _FOLDERS)
    return f"folders {', '.join(found)}" if found else None


LAYOUT = Layout(
    name="wilddeepfake",
    dataset=DATASET,
    summary="{real,fake}_{train,test}/<number>.tar.gz with <video>/<real|fake>/<sequence>/*.png, or unpacked",
    label_source="folders: real_… is 0, fake_… is 1; inner folders must agree",
    split_source="folders …_train and …_test; no val",
    published="7,314 sequences of 707 videos: 3,805 real and 3,509 fake",
    source="deepfakeinthewild/deepfake-in-the-wild; ACM MM 2020",
    recognize=_recognize,
    list_videos=_list,
    methods=("fake",),
    is_selecting=True,
)
