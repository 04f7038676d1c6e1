"""Accepted requests: to this server's own host names, from its own page or from a program.

A page of another site can send forms to a server on the visitor's computer, and can point a name of
its own at 127.0.0.1 to read the responses (DNS rebinding). Both are rejected here.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake_detect.app.request_errors import RequestError

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class HostNames:
    """The host names of a server.

    Args:
        bound: Address it is bound to. If that is a loopback address, only loopback names are
            included; if it is all addresses, also this computer's name and any numeric address.

    Example:
        >>> names = HostNames("127.0.0.1")
        >>> [names.include(host) for host in ("localhost:7860", "[::1]", "evil.example", "10.0.0.1")]
        [True, True, False, False]
    """

    def __init__(self, bound: str) -> None:
        self._bound = bound.lower()
        address = _address(self._bound)
        self._is_everywhere = address is not None and address.is_unspecified
        self._is_local = self._bound == "localhost" or (address is not None and address.is_loopback)

    def include(self, host: str) -> bool:
        """Return whether a request's ``Host``, with or without a port, is one of them."""
        name = _host_name(host)
        address = _address(name)
        if name == self._bound:
            return True
        if name == "localhost" or (address is not None and address.is_loopback):
            return self._is_local or self._is_everywhere
        # The owner of a name can point it anywhere; an address cannot be changed.
        return self._is_everywhere and (address is not None or name == socket.gethostname().lower())


class Guard:
    """ASGI middleware: rejects foreign requests, and sets the security headers of every response.

    Args:
        app: The application behind it.
        names: Host names of accepted requests.
    """

    def __init__(self, app: ASGIApp, names: HostNames) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        rejection = foreign_request(scope["method"], Headers(scope=scope), self._names)
        if rejection is None:
            await self._app(scope, receive, send_guarded)
        else:
            response = JSONResponse(rejection.to_dict(), status_code=rejection.status)
            await response(scope, receive, send_guarded)


def foreign_request(method: str, headers: Mapping[str, str], names: HostNames) -> RequestError | None:
    """Return why a request is rejected; ``None`` if it is accepted.

    Args:
        method: Of the request.
        headers: By lower-case name.
        names: Host names of accepted requests.
    """
    host = headers.get("host", "")
    if not names.include(host):
        return RequestError(
            "request",
            f"is for the host {host[:80]!r}",
            "use the address that the program printed",
            "this server's own addresses",
            403,
        )
    if method in _SAFE_METHODS:
        return None
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none")
    is_own = origin is None or urlsplit(origin).netloc.lower() == host.lower()
    if is_own and site in ("same-origin", "none"):
        return None
    return RequestError(
        "request",
        f"comes from another page ({(origin or site)[:80]!r})",
        "send it from this server's page, or from a program",
        "requests of the same origin",
        403,
    )


def _host_name(host: str) -> str:
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None  # a name, not an address
