"""Small copies of further forms of data: benchmark lists, published image sets, clips with sound."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.data.layouts.miniatures import place_images, place_video, place_videos, write_json


def make_kaggle140k(root: Path, clip: Path | None = None) -> Path:
    """140k real and fake faces, with its lists in which 1 is real."""
    top = root / "140k"
    for split in ("train", "valid", "test"):
        home = top / "real_vs_fake" / "real-vs-fake" / split
        names = {
            word: place_images(home / word, [f"{word[0]}{split}{n}.jpg" for n in (1, 2)]) for word in _WORDS
        }
        lines = [
            f",/k/{path.name},{path.stem},{int(word == 'real')},{word},{split}/{word}/{path.name}"
            for word, folder in names.items()
            for path in sorted(folder.iterdir())
        ]
        (top / f"{split}.csv").write_text(
            "\n".join([",original_path,id,label,label_str,path", *lines]) + "\n"
        )
    return top


_WORDS = ("real", "fake")


def make_kaggle_images(root: Path, clip: Path | None = None) -> Path:
    """Deepfake and real images."""
    top = root / "archive"
    for split in ("Train", "Validation", "Test"):
        for word in ("Real", "Fake"):
            place_images(top / "Dataset" / split / word, [f"{word.lower()}_{n}.jpg" for n in (0, 1)])
    return top


def make_cnndetection(root: Path, clip: Path | None = None) -> Path:
    """CNNDetection: ProGAN for training by category, generators for test with and without categories."""
    top = root / "CNNDetection"
    homes = ["train/airplane", "val/horse", "test/progan/cat", "test/stargan"]
    for home in homes:
        for word in ("0_real", "1_fake"):
            place_images(top / home / word, ["00001.png", "00002.png"])
    return top


def make_kodf(root: Path, clip: Path | None = None) -> Path:
    """KoDF: clips of two people, and a fake by each method."""
    top = root / "KoDF"
    home = top / "kodf_release"
    for person in ("100001", "0123456789abcdef0123"):
        place_videos(home / "original_videos" / person, [f"{person}_001", f"{person}_002"], clip)
    for code, method in enumerate(("dfl", "dffs", "fsgan", "fo", "audio-driven"), 1):
        folder = home / "synthesized_videos" / method / "20200801" / "100001"
        place_videos(folder, [f"100001_100002_{code}_0090"], clip)
    return top


def make_dfplatter(root: Path, clip: Path | None = None) -> Path:
    """DF-Platter: two levels of compression, one of them with the folders that its archives unpack to."""
    top = root / "DF-Platter"
    for home in ("C0/C0", "C23"):
        for split in ("Train", "Test"):
            place_videos(top / home / split / "real", [f"r{split}"], clip)
            place_videos(top / home / split / "fake" / "FSGAN", [f"f{split}"], clip)
            place_videos(top / home / split / "fake", [f"g{split}"], clip)
    return top


def make_deepfaketimit(root: Path, clip: Path | None = None, *, num_people: int = 2, num: int = 2) -> Path:
    """DeepfakeTIMIT: 32 people with ten sentences each in full."""
    top = root / "DeepfakeTIMIT"
    people = [f"p{n:03d}" for n in range(num_people)]
    for quality in ("lower_quality", "higher_quality"):
        for target, source in zip(people, people[1:] + people[:1], strict=True):
            for sentence in range(num):
                place_video(top / quality / target / f"sa{sentence}-video-{source}.avi", clip)
    return top


def make_dfdm(root: Path, clip: Path | None = None, *, num: int = 2) -> Path:
    """DFDM: 430 fakes of each model and quality in full."""
    top = root / "DFDM"
    models = {"Faceswap": "fs", "Lightweight": "lw", "IAE": "iae", "Dfaker": "4dfaker", "DFL-H128": "dfl"}
    for quality in ("crf0", "crf10", "crf23"):
        for model, tag in models.items():
            names = [f"id{n % 50}_id{n % 50 + 1}_{n:04d}_{tag}" for n in range(num)]
            place_videos(top / f"DFDM_{quality}" / model, names, clip)
    return top


FAKEAVCELEB_ROWS = [
    ("id00076", "-", "-", "real", "A", "RealVideo-RealAudio", "00109.mp4"),
    ("id00076", "-", "-", "rtvc", "B", "RealVideo-FakeAudio", "00109_fake.mp4"),
    ("id00076", "id00166", "1", "faceswap", "C", "FakeVideo-RealAudio", "00109_id00166_wavtolip.mp4"),
    ("id00076", "id00476", "10", "wav2lip", "D", "FakeVideo-FakeAudio", "00109_10_id00476_wavtolip.mp4"),
]


def make_fakeavceleb(root: Path, clip: Path | None = None, *, rows: Sequence[Sequence[str]] = ()) -> Path:
    """FakeAVCeleb: a clip of each kind, and its list, whose header lacks a name."""
    top = root / "FakeAVCeleb_v1.2"
    top.mkdir(parents=True)
    with open(top / "meta_data.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [*("source", "target1", "target2", "method", "category", "type"), "race", "gender", "path", ""]
        )
        for person, target, other, method, category, kind, name in rows or FAKEAVCELEB_ROWS:
            folder = f"{kind}/Asian (East)/women/{person}"
            writer.writerow(
                [
                    person,
                    target,
                    other,
                    method,
                    category,
                    kind,
                    "Asian (East)",
                    "women",
                    name,
                    f"FakeAVCeleb/{folder}",
                ]
            )
            place_video(top / folder / name, clip)
    return top


def lavdf_entry(number: int, split: str, video: bool, audio: bool) -> dict[str, Any]:
    is_forged = video or audio
    return {
        "file": f"{split}/{number:06d}.mp4",
        "n_fakes": int(is_forged),
        "fake_periods": [[1.2, 1.8]] if is_forged else [],
        "duration": 4.0,
        "original": f"{split}/{number // 10 * 10:06d}.mp4" if is_forged else None,
        "modify_video": video,
        "modify_audio": audio,
        "split": split,
    }


def make_lavdf(root: Path, clip: Path | None = None, *, name: str = "metadata.json") -> Path:
    """LAV-DF: a real and three fakes of it in each split."""
    top = root / "LAV-DF"
    flags = [(False, False), (False, True), (True, False), (True, True)]
    entries = [
        lavdf_entry(100 * part + n, split, *pair)
        for part, split in enumerate(("train", "dev", "test"))
        for n, pair in enumerate(flags)
    ]
    for entry in entries:
        place_video(top / entry["file"], clip)
    write_json(top / name, entries)
    return top


def av1m_entry(kind: str, number: int = 1) -> dict[str, Any]:
    audio = [[0.5, 0.9]] if kind in ("audio_modified", "both_modified") else []
    visual = [[2.0, 2.4]] if kind in ("visual_modified", "both_modified") else []
    return {
        "file": f"id0001{number}/YouTube/0000{number}/{kind}.mp4",
        "original": f"id0001{number}/YouTube/0000{number}/real.mp4" if kind != "real" else None,
        "split": "train",
        "modify_type": kind,
        "fake_segments": sorted(audio + visual),
        "audio_fake_segments": audio,
        "visual_fake_segments": visual,
        "video_frames": 100,
    }


def make_avdeepfake1m(root: Path, clip: Path | None = None) -> Path:
    """AV-Deepfake1M: a clip of each kind in train and val, and test without labels."""
    top = root / "AV-Deepfake1M"
    for number, split in enumerate(("train", "val"), 1):
        kinds = ("real", "audio_modified", "visual_modified", "both_modified")
        entries = [av1m_entry(kind, number) for kind in kinds]
        for entry in entries:
            place_video(top / split / entry["file"], clip)
        write_json(top / f"{split}_metadata.json", entries)
    place_videos(top / "test", ["000001"], clip)
    return top


def make_deepfakeeval(root: Path, clip: Path | None = None) -> Path:
    """Deepfake-Eval-2024: three videos, one of unknown picture, and two images."""
    top = root / "Deepfake-Eval-2024"
    place_videos(top / "video-data", ["a", "b", "c"], clip)
    place_images(top / "image-data", ["d.png", "e.jpg"])
    videos = ["a.mp4,Real,Fake,Train", "b.mp4,Fake,Unknown,Test", "c.mp4,Unknown,Fake,Test"]
    header = "Filename,Video Ground Truth,Audio Ground Truth,Finetuning Set"
    (top / "video-metadata-publish-with-links.csv").write_text("\n".join([header, *videos]) + "\n")
    images = "Filename,Ground Truth,Finetuning Set\nd.png,Fake,Train\ne.jpg,Real,Test\n"
    (top / "image-metadata-publish.csv").write_text(images)
    return top


def make_openforensics(
    root: Path, clip: Path | None = None, *, names: Sequence[str] = ("Real", "Fake")
) -> Path:
    """OpenForensics: a real photo, a fake one and one with both kinds of faces in two parts."""
    top = root / "OpenForensics"
    for part in ("Train", "Test-Dev"):
        place_images(top / "Images" / part, [f"{part}{n}.jpg" for n in range(3)])
        faces = [(0, 0), (0, 0), (1, 1), (2, 0), (2, 1)]  # image, category
        content = {
            "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
            "images": [{"id": n, "file_name": f"Images/{part}/{part}{n}.jpg"} for n in range(3)],
            "annotations": [
                {"id": n, "image_id": image, "category_id": category, "bbox": [0, 0, 4, 4]}
                for n, (image, category) in enumerate(faces)
            ],
        }
        write_json(top / f"{part}_poly.json", content)
    return top


def make_forgerynet(root: Path, clip: Path | None = None, *, stretches: str = "1 0 2 1") -> Path:
    """ForgeryNet: two images and two videos in each part; one video is forged in part."""
    top = root / "ForgeryNet"
    for part, short in (("Training", "train"), ("Validation", "val")):
        images, videos = f"{short}_image_release", f"{short}_video_release"
        place_images(top / part / "image" / images / "1", ["a.jpg", "b.jpg"])
        place_videos(top / part / "video" / videos / "7", ["c", "d"], clip)
        (top / part / "image_list.txt").write_text(f"{images}/1/a.jpg 0 0 0\n{images}/1/b.jpg 1 2 11\n")
        count, *numbers = stretches.split()
        lines = f"{count} {videos}/7/c.mp4 {' '.join(numbers)} 1 1 2\n1 {videos}/7/d.mp4 0 3 0 0 0 0\n"
        (top / part / "video_list.txt").write_text(lines)
    return top


def bench_list(home: str, *, windows: bool = False) -> dict[str, Any]:
    """A list of FaceForensics++ as rearrange.py writes it."""
    mark = "\\" if windows else "/"

    def entry(word: str, folder: str, *, has_masks: bool = False) -> dict[str, Any]:
        frames = [f"{home}/{folder}/{n:03d}.png".replace("/", mark) for n in (0, 10)]
        masks = [name.replace(f"{mark}frames{mark}", f"{mark}masks{mark}") for name in frames]
        return {"label": word, "frames": frames, **({"masks": masks} if has_masks else {})}

    top, forged = "FaceForensics++", "manipulated_sequences/Deepfakes/c23/frames"
    pristine = "original_sequences/youtube/c23/frames"
    return {
        top: {
            "FF-real": {
                "train": {"c23": {"071": entry("FF-real", f"{top}/{pristine}/071")}},
                "val": {"c23": {}},
                "test": {"c23": {"000": entry("FF-real", f"{top}/{pristine}/000")}},
            },
            "FF-DF": {
                "train": {"c23": {"071_054": entry("FF-DF", f"{top}/{forged}/071_054", has_masks=True)}},
                "val": {"c23": {}},
                "test": {"c23": {"000_003": entry("FF-DF", f"{top}/{forged}/000_003")}},
            },
        }
    }


def make_deepfakebench_tree(root: Path, clip: Path | None = None) -> Path:
    """Frames of FaceForensics++, Celeb-DF and UADFV below ``rgb``, without lists."""
    top = root / "datasets"
    ffpp = top / "rgb" / "FaceForensics++"
    for folder in (
        *("original_sequences/youtube/c23/frames/071", "original_sequences/youtube/c23/frames/000"),
        *(
            "manipulated_sequences/Deepfakes/c23/frames/071_054",
            "manipulated_sequences/Deepfakes/c23/masks/071_054",
        ),
        "manipulated_sequences/Deepfakes/c23/frames/000_003",
    ):
        place_images(ffpp / folder, ["000.png", "010.png"])
    celeb = top / "rgb" / "Celeb-DF-v2"
    for folder in ("Celeb-real/frames/id0_0000", "Celeb-synthesis/frames/id0_id1_0000"):
        place_images(celeb / folder, ["000.png"])
    (celeb / "List_of_testing_videos.txt").write_text("0 Celeb-synthesis/id0_id1_0000.mp4\n")
    for word in ("real", "fake"):
        place_images(top / "rgb" / "UADFV" / word / "frames" / f"0000_{word}", ["000.png"])
    return top


def make_deepfakebench(root: Path, clip: Path | None = None) -> Path:
    """The list of FaceForensics++ next to its frames."""
    top = make_deepfakebench_tree(root)
    write_json(top / "FaceForensics++.json", bench_list("./datasets/rgb", windows=True))
    return top / "FaceForensics++.json"
