"""Connections: how long a client may take, how many it may open, and the log of what it asked."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepfake_detect.app.options import Limits

_log = logging.getLogger(__name__)
_SHUTDOWN_SECONDS = 3
_SECRET = re.compile(r"(?<=/jobs/)([\w-]{4})[\w-]+")  # a job's id opens its result


def server_config(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    """Return how the application is served."""
    return uvicorn.Config(
        app,
        http=_protocol(limits),
        log_config=None,  # its messages go to the logger "uvicorn", silent as ours
        access_log=False,
        server_header=False,
        # With proxy headers a client could pretend to have any address, and take its turns.
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


def set_timeouts(bound: socket.socket, limits: Limits) -> None:
    """Let the system end connections of clients that are gone, or that read no more, without a word."""
    seconds = max(1, int(limits.max_silence_seconds))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    values = {"TCP_KEEPIDLE": seconds, "TCP_KEEPINTVL": seconds, "TCP_KEEPCNT": 2}
    for name, value in {**values, "TCP_USER_TIMEOUT": seconds * 1000}.items():
        if hasattr(socket, name):  # Linux has all of them, and accepted connections inherit them
            bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _protocol(limits: Limits) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """Closes a connection on which no complete request head arrives in time, and those over a limit."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            of_client = sum(_address(one) == _address(self) for one in self.connections)
            if len(self.connections) > limits.max_connections or of_client > limits.max_connections // 2:
                _log.info("closed a connection of %s: %d are open", self.client, len(self.connections))
                transport.close()
            self._await_request()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._await_request()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._timer is not None:
                self._timer.cancel()

        def _await_request(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_later(limits.max_silence_seconds, self._end_if_idle)

        def _end_if_idle(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Protocol


def _address(connection: object) -> str:
    client = getattr(connection, "client", None)
    return client[0] if client else ""


class AccessLog:
    """ASGI middleware: logs each request with its status and time, on the logger ``...app.http``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it when it ends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 499, time.monotonic()  # the client left before the response

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        finally:
            path = _SECRET.sub(r"\1...", scope["path"])
            address = scope["client"][0] if scope.get("client") else "-"
            seconds = time.monotonic() - started
            _log.info("%s %s %s %d %.3f s", address, scope["method"], ascii(path)[1:-1], status, seconds)
