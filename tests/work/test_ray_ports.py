"""A cluster of this machine alone is reached from this machine alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfake_detect.work import RayOptions, ray_cluster

pytest.importorskip("ray")
_LISTEN = "0A"
_LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


def listening() -> dict[str, str]:
    """Return the local address of each listening TCP socket, by its number."""
    texts = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    lines = [line.split() for text in texts for line in text.splitlines()]
    return {cells[9]: cells[1].partition(":")[0] for cells in lines if cells[3] == _LISTEN}


@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="needs Linux's list of sockets")
def test_no_port_is_open_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    before = listening()
    with ray_cluster(RayOptions()):
        opened = {number: address for number, address in listening().items() if number not in before}
        assert opened
        assert set(opened.values()) <= set(_LOOPBACK), os.environ.get("RAY_AUTH_MODE")
