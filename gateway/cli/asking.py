"""Asking a running gateway on its admin port."""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from typing import Any

from gateway.cli.common import UserError, configuration

TIMEOUT_SECONDS = 60


class Gateway:
    """The gateway that a configuration describes."""

    def __init__(self, options: argparse.Namespace) -> None:
        config = configuration(options.config)
        host, _, port = config.server.admin_listen.rpartition(":")
        local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104 - to connect, not to listen
        self.address = f"http://{local.get(host, host)}:{port}"
        self._token = config.server.admin_token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, *, post: bool = False) -> Any:
        """Its answer, decoded from JSON; None where none runs. Raises ``UserError`` with what it says is wrong."""
        said = self._ask(path, post)
        return None if said is None else json.loads(said)

    def gauge(self, name: str) -> float:
        """The sum of a metric's series; 0 where there is none, or no gateway."""
        lines = (self._ask("/metrics", False) or b"").decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def _ask(self, path: str, post: bool) -> bytes | None:
        request = urllib.request.Request(  # noqa: S310 - the configuration's own address
            self.address + path, data=b"{}" if post else None, method="POST" if post else "GET"
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                said: bytes = answer.read()
                return said
        except urllib.error.HTTPError as error:
            detail = json.loads(error.read() or b"{}").get("detail", error.reason)
            raise UserError(f"the gateway answered {error.code}: {detail}") from error
        except (urllib.error.URLError, ConnectionError):
            return None

    def needed(self, path: str) -> Any:
        """Its answer. Raises ``UserError`` where none runs."""
        said = self.ask(path)
        if said is None:
            raise UserError(f"no gateway answers at {self.address}: start one with spendgate serve")
        return said


def ask(options: argparse.Namespace, path: str, *, post: bool = False) -> Any:
    """The answer of the configuration's gateway; None where none runs."""
    return Gateway(options).ask(path, post=post)
