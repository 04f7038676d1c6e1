from __future__ import annotations

import socket

import pytest

from deepfake_detect.app.guard import HostNames, foreign_request

LOCAL = HostNames("127.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860", "127.1.2.3"])
def test_a_local_server_answers_to_local_names(host: str) -> None:
    assert LOCAL.include(host)


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil"])
def test_and_to_no_others(host: str) -> None:
    rejected = foreign_request("GET", {"host": host}, LOCAL)
    assert rejected is not None
    assert rejected.status == 403
    assert "use the address that the program printed" in str(rejected)


def test_a_server_on_all_addresses_answers_to_addresses_and_its_own_name() -> None:
    names = HostNames("0.0.0.0")
    assert all(map(names.include, ("10.0.0.1:7860", "localhost", "[fe80::1]", socket.gethostname())))
    assert not names.include("evil.example")


def test_a_server_on_one_address_answers_to_that_alone() -> None:
    names = HostNames("192.168.1.5")
    assert names.include("192.168.1.5:7860")
    assert not any(map(names.include, ("192.168.1.6", "localhost", "evil.example")))


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:7860"}, True),
        ({"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, True),
    ],
)
def test_other_pages_change_nothing_here(headers: dict[str, str], is_own: bool) -> None:
    headers = {"host": "127.0.0.1:7860", **headers}
    assert (foreign_request("POST", headers, LOCAL) is None) == is_own
    assert (foreign_request("DELETE", headers, LOCAL) is None) == is_own
    assert foreign_request("GET", headers, LOCAL) is None
