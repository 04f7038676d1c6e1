"""Write deepfake_detect/models/catalog.json, the facts that list_backbones() shows, again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import deepfake_detect
from deepfake_detect.models.catalog import NAMED_BACKBONES, describe_backbone


def main() -> None:
    lines = [json.dumps(asdict(describe_backbone(name))) for name in NAMED_BACKBONES]
    path = Path(deepfake_detect.__file__).parent / "models" / "catalog.json"
    path.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n", "utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
