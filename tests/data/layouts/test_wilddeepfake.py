from __future__ import annotations

import gzip
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import pytest

from deepfake_detect.data.layouts.base import Selection, VideoListing
from deepfake_detect.data.layouts.wilddeepfake import LAYOUT
from deepfake_detect.errors import DatasetLayoutError, OptionError
from deepfake_detect.video import AllFrames, find_sequence, read_sequence
from tests.data.layouts.miniatures_more import make_wilddeepfake, pack, place_pictures
from tests.media import cut_off

ALL = Selection()


def ids(listing: VideoListing) -> list[str]:
    return [video.video_id for video in listing.videos]


def top_of(root: Path) -> Path:
    return root / "deepfake_in_the_wild"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_shards_and_folders_give_the_same_rows(tmp_path: Path, mode: str) -> None:
    packed = LAYOUT.read(make_wilddeepfake(tmp_path / "packed", mode=mode), ALL)
    unpacked = LAYOUT.read(make_wilddeepfake(tmp_path / "unpacked", packed=False), ALL)
    assert ids(packed) == ids(unpacked)
    assert len(set(ids(packed))) == 16
    assert ids(packed)[0] == "WildDeepfake/real/train/0/12"
    assert packed.counts() == {"real": (8, 3805), "fake": (8, 3509)}
    assert not packed.ignored
    assert not packed.notes


def test_label_and_split_are_those_of_the_folder(tmp_path: Path) -> None:
    videos = LAYOUT.read(make_wilddeepfake(tmp_path), ALL).videos
    assert Counter((video.method, video.label, video.split) for video in videos) == {
        ("real", 0, "train"): 4,
        ("real", 0, "test"): 4,
        ("fake", 1, "train"): 4,
        ("fake", 1, "test"): 4,
    }
    assert {(video.target_id, video.source_id) for video in videos} == {(None, None)}
    # Two sequences of each film are one group.
    assert set(Counter(video.group_id for video in videos).values()) == {2}


def test_the_path_goes_on_inside_the_shard(tmp_path: Path) -> None:
    video = LAYOUT.read(make_wilddeepfake(tmp_path), ALL).videos[-1]
    shard = top_of(tmp_path) / "fake_test" / "1.tar.gz"
    assert video.path == shard / "1" / "fake" / "5"
    with tarfile.open(shard) as archive:
        inside = video.path.relative_to(shard).as_posix()
        assert f"./{inside}/2.png" in archive.getnames()


@pytest.mark.parametrize("packed", [False, True])
def test_the_sequences_of_a_miniature_decode(tmp_path: Path, packed: bool) -> None:
    video = LAYOUT.read(make_wilddeepfake(tmp_path, packed=packed), ALL).videos[0]
    sequence = find_sequence(video.path)
    assert sequence is not None
    frames = list(read_sequence(sequence, AllFrames()))
    assert [frame.image.shape for frame in frames] == [(8, 8, 3)] * 2


def test_what_is_unpacked_next_to_its_shard_is_read_once(tmp_path: Path) -> None:
    top = top_of(make_wilddeepfake(tmp_path))
    place_pictures(top / "fake_train" / "0" / "fake" / "5", ["2.png"])
    listing = LAYOUT.read(tmp_path, ALL)
    assert len(ids(listing)) == len(set(ids(listing))) == 16
    assert "1 sequences are both unpacked and in a shard" in listing.notes[0]
    assert {v.video_id: v.path for v in listing.videos}["WildDeepfake/fake/train/0/5"].is_dir()


def test_a_shard_without_its_number_inside_is_reported_apart_by_its_name(tmp_path: Path) -> None:
    top = top_of(tmp_path)
    for number in ("3", "4"):
        place_pictures(top / "fake_train" / number / "fake" / "5", ["2.png"])
        with tarfile.open(top / "fake_train" / f"{number}.tar", "w") as archive:
            archive.add(top / "fake_train" / number / "fake", arcname="fake")
        (top / "fake_train" / number).rename(tmp_path / number)
    assert ids(LAYOUT.read(tmp_path, ALL)) == ["WildDeepfake/fake/train/3/5", "WildDeepfake/fake/train/4/5"]


@pytest.mark.parametrize(("mode", "keep"), [("w", 0.3), ("w:gz", 0.7), ("w", 0.0)])
def test_a_shard_whose_download_stopped_is_left_out_and_named(tmp_path: Path, mode: str, keep: float) -> None:
    make_wilddeepfake(tmp_path, mode=mode)
    shard = cut_off(top_of(tmp_path) / "fake_train" / "0.tar.gz", keep=keep)
    listing = LAYOUT.read(tmp_path, ALL)
    assert listing.counts() == {"real": (8, 3805), "fake": (6, 3509)}
    assert listing.ignored == (shard,)
    assert listing.notes[0].startswith(f"{shard} cannot be read and is left out (")


def test_the_cause_of_a_damaged_shard_is_reported_in_a_line(tmp_path: Path) -> None:
    make_wilddeepfake(tmp_path)
    shard = top_of(tmp_path) / "fake_train" / "0.tar.gz"
    shard.write_bytes(b"no archive" * 200)
    (note,) = LAYOUT.read(tmp_path, ALL).notes
    assert note == (
        f"{shard} cannot be read and is left out (file could not be opened successfully): download it again"
    )


def test_hidden_files_next_to_shards_are_none(tmp_path: Path) -> None:
    make_wilddeepfake(tmp_path)
    for name in ("._0.tar.gz", "._1.tar.gz", ".2.tar"):
        (top_of(tmp_path) / "fake_train" / name).write_bytes(b"what macOS notes of a file")
    listing = LAYOUT.read(tmp_path, ALL)
    assert (len(listing.videos), listing.ignored, listing.notes) == (16, (), ())


def test_a_shard_must_not_lead_out_of_its_place(tmp_path: Path) -> None:
    make_wilddeepfake(tmp_path)
    picture = next(place_pictures(tmp_path / "x", ["2.png"]).iterdir())
    with tarfile.open(top_of(tmp_path) / "fake_train" / "9.tar", "w") as archive:
        archive.add(picture, arcname="../../fake/5/2.png")
    with pytest.raises(DatasetLayoutError, match="video_id .* has a part that is empty, . or .."):
        LAYOUT.read(tmp_path, ALL)


@pytest.mark.parametrize("num_more_bytes", [0, 100])
def test_a_shard_that_stops_right_behind_an_image_is_damaged_too(tmp_path: Path, num_more_bytes: int) -> None:
    make_wilddeepfake(tmp_path)
    shard = top_of(tmp_path) / "fake_train" / "0.tar.gz"
    with tarfile.open(shard) as archive:
        first = next(member for member in archive if member.isfile())
    behind = first.offset_data + 512  # the image is smaller than a block
    shard.write_bytes(shard.read_bytes()[: behind + num_more_bytes])
    listing = LAYOUT.read(tmp_path, ALL)
    assert listing.ignored == (shard,)
    assert "(no end mark)" in listing.notes[0]


def unpacked(data: bytes) -> bytes | None:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


def test_no_damaged_byte_of_a_gzipped_shard_goes_unseen(tmp_path: Path) -> None:
    make_wilddeepfake(tmp_path / "whole", mode="w:gz")
    good = top_of(tmp_path / "whole") / "fake_train" / "0.tar.gz"
    tree = tmp_path / "tree"
    shard = tree / "fake_train" / "0.tar.gz"
    place_pictures(tree / "fake_test" / "0" / "fake" / "5", ["2.png"])
    shard.parent.mkdir()
    data = good.read_bytes()
    # Behind the head, which holds no more than the time and name of the packed file.
    for place in range(data.index(b"\0", 10) + 1, len(data), 3):
        changed = data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]
        if unpacked(changed) == unpacked(data):
            continue  # it says from where to repeat a zero, and there is a zero in the other place too
        shard.write_bytes(changed)
        listing = LAYOUT.read(tree, ALL)
        assert listing.ignored == (shard,), place
        assert len(listing.videos) == 1


def test_a_tree_of_nothing_but_damaged_shards_is_rejected(tmp_path: Path) -> None:
    shard = top_of(tmp_path) / "fake_train" / "0.tar.gz"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"no archive")
    with pytest.raises(
        DatasetLayoutError, match="contains no sequence of WildDeepfake: .*0.tar.gz cannot be read"
    ):
        LAYOUT.read(tmp_path, ALL)
    shard.unlink()
    with pytest.raises(DatasetLayoutError, match="has neither shards nor folders of PNGs"):
        LAYOUT.read(tmp_path, ALL)


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_inner_folder_that_contradicts_the_outer_one_is_an_error(tmp_path: Path, is_packed: bool) -> None:
    folder = top_of(tmp_path) / "fake_train" / "7"
    place_pictures(folder / "real" / "5", ["2.png"])
    if is_packed:
        pack(folder)
        folder.rename(tmp_path / "7")
    with pytest.raises(DatasetLayoutError, match="is named real but is in fake_train"):
        LAYOUT.read(tmp_path, ALL)


@pytest.mark.parametrize("folder", ["real_train", "real_test", "fake_train", "fake_test"])
def test_one_folder_alone_is_a_partial_copy(tmp_path: Path, folder: str) -> None:
    top = top_of(make_wilddeepfake(tmp_path / "whole"))
    (tmp_path / "part").mkdir()
    (top / folder).rename(tmp_path / "part" / folder)
    assert LAYOUT.recognize(tmp_path / "part") == f"folders {folder}"
    assert len(LAYOUT.read(tmp_path / "part", ALL).videos) == 4


def test_a_misspelled_folder_is_an_error_that_names_the_right_one(tmp_path: Path) -> None:
    top = top_of(make_wilddeepfake(tmp_path))
    (top / "real_train").rename(top / "real train")
    assert LAYOUT.recognize(tmp_path) is not None
    with pytest.raises(DatasetLayoutError, match="real train: is not a folder of.*rename it to real_train"):
        LAYOUT.read(tmp_path, ALL)


def test_other_trees_and_options_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    assert LAYOUT.recognize(tmp_path) is None
    with pytest.raises(DatasetLayoutError, match="contains none of real_train, real_test"):
        LAYOUT.read(tmp_path, ALL)
    with pytest.raises(OptionError, match="methods: 'real' is unknown; must be one of fake"):
        LAYOUT.read(tmp_path, Selection(methods=("real",)))
