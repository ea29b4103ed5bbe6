"""Asking a running gateway on its admin port."""

from __future__ import annotations

import argparse
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from gateway.cli.common import TOKEN, UserError, configuration

TIMEOUT_SECONDS = 60


class Gateway:
    """The gateway that a configuration describes."""

    def __init__(self, options: argparse.Namespace) -> None:
        config = configuration(options.config)
        host, _, port = config.server.admin_listen.rpartition(":")
        local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104 - to connect, not to listen
        tls = config.server.admin_tls
        self.address = f"{'http' if tls is None else 'https'}://{local.get(host, host)}:{port}"
        self._token = _token(options.token_file, os.environ) or config.server.admin_token
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=_trust(options.config.resolve().parent / tls.cert)))
        self._opener = urllib.request.build_opener(*handlers)

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
            hint = f" Set {TOKEN}, or --token-file." if error.code == HTTPStatus.UNAUTHORIZED else ""
            raise UserError(f"the gateway answered {error.code}: {detail}{hint}") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                raise UserError(f"{self.address} is not the gateway of this configuration: {error.reason}") from error
            return None
        except ConnectionError:
            return None

    def needed(self, path: str) -> Any:
        """Its answer. Raises ``UserError`` where none runs."""
        said = self.ask(path)
        if said is None:
            raise UserError(f"no gateway answers at {self.address}: start one with spendgate serve")
        return said


def _token(file: str | None, environ: Mapping[str, str]) -> str:
    """The token that the user names; empty where none is. Raises ``UserError``."""
    if file is None:
        return environ.get(TOKEN, "").strip()
    try:
        found = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {file}: {error}") from error
    if not found:
        raise UserError(f"--token-file {file}: it is empty")
    return found


def _trust(certificate: Path) -> ssl.SSLContext:
    """The gateway's own certificate and no other, whatever name it is called by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"server.admin_tls.cert: {certificate} can't be read: {error}") from error
    return context


def ask(options: argparse.Namespace, path: str, *, post: bool = False) -> Any:
    """The answer of the configuration's gateway; None where none runs."""
    return Gateway(options).ask(path, post=post)
