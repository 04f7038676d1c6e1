from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def crops(labeled_crops: Path) -> Path:
    return labeled_crops
