"""Detectors on CLIP and on masked autoencoders: Effort, DiCoME, Forensics Adapter and FS-VFM."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import CLIP_MEAN, CLIP_STD, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_BENCH = CropGeometry(margin=1.3, aligned=True, template="arcface", border="black", side=256)
_FACES_MEAN = (0.5482207536697388, 0.42340534925460815, 0.3654651641845703)
_FACES_STD = (0.2789176106452942, 0.2438540756702423, 0.23493893444538116)
_FSVFM = (
    "https://huggingface.co/Wolowolo/fsfm-3c/resolve/main/finetuned_models/FS-VFM_extensions/"
    "{}/ViT-L_VF2_600e/FT_on_FF%2B%2B_c23_32frames/checkpoint-min_val_loss.pth"
)
_FSVFM_NOTES = (
    "Class 0 of the file is the fake. The authors of GenD, who ran this file too, had to crop closer than "
    "for other detectors. Crops here are a box with 30% more, as its authors cut them."
)
_NONCOMMERCIAL = "CC BY-NC 4.0"


def _fsvfm(name: str, title: str, network: str, folder: str, file: str) -> ZooEntry:
    return ZooEntry(
        name=name,
        title=title,
        paper="Wang, Lin, Wu, Liu, Ba, Ren 2025, arXiv:2412.12032 and arXiv:2510.10663",
        repository="https://github.com/wolo-wolo/FSFM-CVPR25",
        files=(ZooFile(_FSVFM.format(folder), name=file),),
        license=_NONCOMMERCIAL,
        is_noncommercial=True,
        training_data="VGGFace2, then FaceForensics++ c23, 32 frames a video",
        network=network,
        preprocessing=Preprocessing(224, _FACES_MEAN, _FACES_STD),
        geometry=CropGeometry(margin=1.3),
        polarity="real",
        aggregation_rule="mean",
        notes=_FSVFM_NOTES,
    )


ENTRIES = (
    ZooEntry(
        name="effort-clip-l",
        title="Effort on CLIP ViT-L/14",
        paper="Yan et al. 2025, arXiv:2411.15633",
        repository="https://github.com/YZY-stack/Effort-AIGI-Detection",
        files=(
            ZooFile(
                "https://drive.google.com/uc?id=1m4fyJecABU-Yk3bJ4b1WhUwQa0xCkMLI",
                name="effort_clip_L14_trainOn_FaceForensic.pth",
            ),
        ),
        license=_NONCOMMERCIAL,
        is_noncommercial=True,
        training_data="FaceForensics++ c23",
        network="effort-clip-l",
        preprocessing=Preprocessing(224, CLIP_MEAN, CLIP_STD, "linear"),
        geometry=_BENCH,
        aggregation_rule="mean",
        published=tuple(
            Figure(data, "video AUC", value, "the authors' README")
            for data, value in (
                ("Celeb-DF v2", 0.956),
                ("DFD", 0.965),
                ("DFDC", 0.843),
                ("DFDC preview", 0.909),
                ("FFIW", 0.921),
            )
        ),
        notes="Faces are cut as DeepfakeBench does, which detects them with dlib.",
    ),
    ZooEntry(
        name="dicome-clip-l",
        title="DiCoME on CLIP ViT-L/14",
        paper="Kang, Wang, Cheng, Huang, Lei, Wu, Zou, Wang 2026, arXiv:2606.01885",
        repository="https://github.com/kxl0825/DiCoME",
        files=(ZooFile("https://huggingface.co/kxl0825/DiCoME/resolve/main/dicome-best.ckpt"),),
        license=_NONCOMMERCIAL,
        is_noncommercial=True,
        training_data="FaceForensics++ c23",
        network="dicome-clip-l",
        preprocessing=Preprocessing(224, CLIP_MEAN, CLIP_STD),
        geometry=_BENCH,
        aggregation_rule="mean",
        published=tuple(
            Figure(data, "video AUC", value, "a third party's run of the released weights")
            for data, value in (
                ("Celeb-DF v2", 0.973),
                ("DFD", 0.939),
                ("DFDC", 0.882),
                ("DFDC preview", 0.880),
            )
        ),
        notes="Faces are cut as DeepfakeBench does, which detects them with dlib. At the threshold chosen on "
        "FaceForensics++ a third party counted false alarms on .09 to .31 of other datasets' real videos.",
    ),
    ZooEntry(
        name="forensics-adapter",
        title="Forensics Adapter on CLIP ViT-L/14",
        paper="Cui, Li, Luo, Zhou, Dong 2025, arXiv:2411.19715",
        repository="https://github.com/OUC-VAS/ForensicsAdapter",
        files=(
            ZooFile(
                "https://drive.google.com/uc?id=1UlaAUTtsX87ofIibf38TtfAKIsnA7WVm",
                name="ForensicsAdapter.pth",
            ),
        ),
        license=_NONCOMMERCIAL,
        is_noncommercial=True,
        training_data="FaceForensics++ c23",
        network="forensics-adapter",
        preprocessing=Preprocessing(256, CLIP_MEAN, CLIP_STD, "cubic"),
        geometry=_BENCH,
        aggregation_rule="mean",
        published=tuple(
            Figure(data, "video AUC", value, "the authors' README")
            for data, value in (("Celeb-DF v2", 0.957), ("DFDC", 0.872), ("DFDC preview", 0.929))
        ),
        notes="Faces are cut as DeepfakeBench does, which detects them with dlib.",
    ),
    _fsvfm(
        "fsvfm-vit-l",
        "FS-VFM ViT-L/16",
        "fsvfm-vit-l",
        "cross_dataset_DFD_and_DiFF",
        "FS-VFM-ViT-L.pth",
    ),
    _fsvfm(
        "fsvfm-vit-l-adapter",
        "FS-VFM ViT-L/16 with adapter",
        "fsvfm-vit-l-adapter",
        "finetune_fs-adapter/cross_dataset_DfD_and_DiFF",
        "FS-VFM-ViT-L-Adapter.pth",
    ),
)
