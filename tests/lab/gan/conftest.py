from __future__ import annotations

import pytest

from deepfake_detect.lab.gan import networks


@pytest.fixture
def narrow_dcgan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make dcgan an eighth as wide: what is tested does not depend on the width."""
    monkeypatch.setattr(networks, "_DCGAN_WIDTH", 8)
