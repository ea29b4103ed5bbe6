"""A gateway in a process of its own, started and stopped as an operator would.

Most are forked from a process that has imported the program: see ``forked``. Tests of how it starts, of its life, of
crashes and of a long run have ``fresh`` ones.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from support import command
from support.forked import Forked


def _own_ports() -> Iterator[int]:
    """Ports that no other of pytest's processes takes, one after the other. The kernel gives none of them to anybody
    who asks for any port."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = 20_000 // workers
    first = secrets.randbelow(size)
    return itertools.cycle(12_000 + worker * size + (first + number) % size for number in range(size))


_PORTS = _own_ports()
_HELD: list[socket.socket] = []


def free_port() -> int:
    """A port that nothing listens on, and that no other test is given, of this run or of one beside it: a socket that
    never listens holds it until this process ends. Who allows its address to be reused may listen on it meanwhile."""
    for port in itertools.islice(_PORTS, 20_000):
        one = socket.socket()
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            one.close()
            continue
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _HELD.append(one)
        return port
    raise AssertionError("every port is taken")


@dataclass
class Gateway:
    """``with Gateway(directory, config_text) as gateway``. ``config`` may use {port}, {admin} and {dir}."""

    directory: Path
    config: str
    env: dict[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None
    """How clients meet its ports where both speak TLS."""
    within: tuple[str, ...] = ()
    """A command that runs it, as ``sh -c 'ulimit …; exec "$@"' sh`` does."""
    fresh: bool = False
    """Whether an interpreter of its own runs it, as it does where it has an environment of its own."""
    process: subprocess.Popen[bytes] | Forked | None = None

    def __post_init__(self) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.path = self.directory / "config.toml"
        self.write(self.config)

    def write(self, config: str) -> None:
        """Put the configuration down (again); ``reload`` makes it count."""
        server = (
            f'[server]\nlisten = "127.0.0.1:{self.port}"\nadmin_listen = "127.0.0.1:{self.admin_port}"\n'
            f'data_dir = "{self.directory / "data"}"\n'
        )
        ledger = f'[ledger]\nurl = "sqlite:///{self.directory / "data" / "ledger.db"}"\n'
        text = config
        if "[server]" in text:
            text = text.replace("[server]\n", server)
        else:
            text = server + text
        if "[ledger]" in text:
            text = text.replace("[ledger]\n", ledger)
        else:
            text += "\n" + ledger
        self.path.write_text(text)

    @property
    def scheme(self) -> str:
        return "http" if self.trust is None else "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.admin_port}"

    def start(self) -> Self:
        self.process = self._begun()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the gateway ended with {self.process.returncode}:\n{self.log()}")
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=1, context=self.trust):
                    return self
            except OSError:
                time.sleep(0.03)
        raise RuntimeError(f"the gateway is not ready:\n{self.log()}")

    def _begun(self) -> subprocess.Popen[bytes] | Forked:
        words, path = ["serve", "--config", str(self.path)], self.directory / "gateway.log"
        if not (self.fresh or self.within or self.env):
            return Forked(words, Path.cwd(), os.environ, path, path)
        command = [*self.within, sys.executable, "-m", "gateway.cli.main", *words]
        with path.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.env})

    def stop(self, timeout: float = 30) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        return (self.directory / "gateway.log").read_text(errors="replace")

    def get(self, path: str) -> Any:
        """A JSON answer of the admin port."""
        with urllib.request.urlopen(self.admin + path, timeout=10, context=self.trust) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any = None) -> Any:
        """A JSON answer of the admin port to a POST."""
        request = urllib.request.Request(self.admin + path, data=json.dumps(body or {}).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30, context=self.trust) as answer:
            return json.load(answer)

    def metrics(self) -> str:
        with urllib.request.urlopen(self.admin + "/metrics", timeout=10, context=self.trust) as answer:
            text: str = answer.read().decode()
            return text

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; there must be one."""
        asked = [f'{label}="{value}"' for label, value in labels.items()]
        samples = [
            line.rsplit(" ", 1) for line in self.metrics().splitlines() if line.startswith((f"{name}{{", f"{name} "))
        ]
        found = [float(number) for sample, number in samples if all(one in sample for one in asked)]
        assert found, f"no {name} of {labels}"
        return sum(found)

    def records(self, **query: str | int) -> list[dict[str, Any]]:
        """All records, newest first, through the API's pages."""
        out: list[dict[str, Any]] = []
        cursor = ""
        while True:
            asked = {"limit": 1000, **query} | ({"cursor": cursor} if cursor else {})
            page = self.get("/api/requests?" + "&".join(f"{k}={v}" for k, v in asked.items()))
            out += page["requests"]
            cursor = page["cursor"]
            if not cursor:
                return out

    def cli(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of spendgate against this gateway's configuration."""
        done = command.run([*args, "--config", str(self.path)], Path.cwd(), {**os.environ, **self.env})
        if check and done.returncode:
            raise RuntimeError(f"{args}: exit {done.returncode}: {done.stderr}")
        return done

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
