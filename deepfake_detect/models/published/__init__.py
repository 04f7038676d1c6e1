"""Networks of published detectors that timm does not have, and the layouts of their files.

A published detector is a backbone (images (N, 3, H, W) -> features (N, F)) and one linear layer to the
logit, so that everything in this library works on it. Each family of detectors is one module with

* ``BACKBONES``: name -> :class:`models.backbone.Backbone`, for networks that timm does not have,
* ``LAYOUTS``: name -> :class:`models.published.layout.Layout`, from its file to ours.

Modules import timm and torchvision inside functions: reading any detector imports these modules.
"""

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published import (
    deepfakebench,
    deepguard,
    dicome,
    efficientnet,
    effort,
    forensics_adapter,
    fsfm,
    gend,
    mesonet,
    polimi,
    sbi,
    selimsef,
)
from deepfake_detect.models.published.layout import Layout

_FAMILIES = (
    deepfakebench,
    deepguard,
    dicome,
    forensics_adapter,
    efficientnet,
    effort,
    fsfm,
    gend,
    mesonet,
    polimi,
    sbi,
    selimsef,
)
PUBLISHED_BACKBONES: dict[str, Backbone] = {
    name: backbone for family in _FAMILIES for name, backbone in family.BACKBONES.items()
}
"""Backbones of published detectors by name; ``create_model`` knows them."""
LAYOUTS: dict[str, Layout] = {name: layout for family in _FAMILIES for name, layout in family.LAYOUTS.items()}
"""Layouts of published files by name."""
