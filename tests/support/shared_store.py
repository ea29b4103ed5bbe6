"""Stores by which gateways share quotas, for tests: a database of PostgreSQL's, a Redis that keeps what it is told."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from support.gateway import free_port
from support.postgresql import database


class RedisServer:
    """A redis-server of its own. With ``keeps``, nothing it was told is lost when it is killed."""

    def __init__(self, folder: Path, *, keeps: bool = True) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("needs redis-server")
        self._folder = folder
        self._keeps = keeps
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        kept = ["--appendonly", "yes", "--appendfsync", "always"] if self._keeps else ["--appendonly", "no"]
        where = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        self._process = subprocess.Popen(["redis-server", *where, *kept], stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
            except redis.RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                break
        client.close()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@contextmanager
def redis_server(folder: Path, *, keeps: bool = True) -> Iterator[RedisServer]:
    server = RedisServer(folder, keeps=keeps)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def store(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty store of a kind."""
    if kind == "postgresql":
        with database() as url:
            yield url
    else:
        with redis_server(folder) as server:
            yield server.url
