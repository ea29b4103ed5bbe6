"""What is measured side by side: the gateway with everything on, two bare proxies, nginx; and the provider itself."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from proxying.machine import pinned

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEYS = ("sk-bench-search-0123456789abcdef0123456789", "sk-bench-support-0123456789abcdef0123456789")
TEAMS = ("search", "support")
LIMITS = (
    ("month", "usd = 1_000_000", "month"),
    ("day", "tokens = 1_000_000_000_000", "day"),
    ("hour", "output_tokens = 1_000_000_000_000", "hour"),
    ("minute", "requests = 1_000_000_000", "minute"),
    ("flow", 'input_tokens = 1_000_000_000_000\nper = ["workflow"]', "total"),
)
START_SECONDS = 60

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 2m; keepalive_requests 1000000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream provider {{ server 127.0.0.1:{provider}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer sk-upstream"; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Contender:
    """One that takes calls; ``pid`` 0: its CPU is not counted."""

    name: str
    pid: int
    port: int
    path: str = "/v1/chat/completions"
    keys: tuple[str, ...] = KEYS
    admin_port: int = 0


def free_port() -> int:
    """A port that nothing listens on, and that the kernel gives to no connection before it is used."""
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def config(port: int, admin: int, provider: int, folder: Path, workers: int = 1) -> str:
    """Two keys; ten quotas, of which five match each key; a ledger on the disk."""
    parts = [
        f'[server]\nlisten = "127.0.0.1:{port}"\nadmin_listen = "127.0.0.1:{admin}"\ndata_dir = "{folder}/data"',
        "workers = 2" if workers == 2 else "",
        f'[ledger]\nurl = "sqlite:///{folder}/data/ledger.db"',
        f'[providers.openai]\nkind = "openai"\nbase_url = "http://127.0.0.1:{provider}/v1"\napi_key = "sk-upstream"',
    ]
    for team, key in zip(TEAMS, KEYS, strict=True):
        parts.append(f'[[keys]]\nid = "{team}-prod"\nsecret = "{key}"\nteam = "{team}"\nworkflow = "ranking"')
        parts += [
            f'[[quotas]]\nname = "{team}-{name}"\nmatch = {{ team = "{team}" }}\n{limit}\nwindow = "{window}"'
            for name, limit, window in LIMITS
        ]
    return "\n".join(parts) + "\n"


@contextmanager
def process(command: list[str], port: int, log: Path, core: set[int], **env: str) -> Iterator[int]:
    """Start it on these cores, wait until it accepts, answer its id; end it with all its children at the end."""
    with log.open("wb") as told, pinned(core):
        started = subprocess.Popen(
            command, stdout=told, stderr=told, env={**os.environ, **env}, start_new_session=True, cwd=log.parent
        )
    try:
        _wait(started, port, log)
        yield started.pid
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _wait(started: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and started.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{log.stem} does not start: {log.read_text(errors='replace')[-600:].strip()}")


@contextmanager
def gateway(
    name: str, source: Path, folder: Path, provider: int, core: set[int], workers: int = 1, more: str = ""
) -> Iterator[Contender]:
    """The gateway whose packages lie in ``source``. ``more``: what its configuration says beside the bench's."""
    port, admin = free_port(), free_port()
    own = folder / name.replace(" ", "-")
    own.mkdir()
    (own / "config.toml").write_text(config(port, admin, provider, own, workers) + more)
    command, env = spendgate(source, "serve", own / "config.toml")
    with process(command, port, own / "gateway.log", core, **env) as pid:
        _ready(admin)
        yield Contender(name, pid, port, "/openai/chat/completions", KEYS, admin)


def spendgate(source: Path, what: str, path: Path) -> tuple[list[str], dict[str, str]]:
    """A command of the version in ``source``, and the variables that it needs beside those of this process."""
    command = [sys.executable, "-P", "-m", "gateway.cli.main", what, "--config", str(path)]
    return command, {"PYTHONPATH": str(source), "SPENDGATE_PLAIN": "1"}


def check(source: Path, path: Path) -> bool:
    """Whether this version finds nothing wrong in a configuration."""
    command, env = spendgate(source, "check", path)
    return not subprocess.run(command, env={**os.environ, **env}, capture_output=True).returncode


@contextmanager
def provided(folder: Path, core: set[int]) -> Iterator[int]:
    """The port of a provider that answers at once."""
    port = free_port()
    with process([sys.executable, str(HERE / "provider.py"), str(port)], port, folder / "provider.log", core):
        yield port


@contextmanager
def bare(name: str, folder: Path, provider: int, core: set[int], workers: int = 1) -> Iterator[Contender]:
    """A proxy that only forwards; the one on asyncio can be two processes on one port."""
    port = free_port()
    command = [sys.executable, str(HERE / f"bare_{name}.py"), str(port), str(provider), str(workers)]
    with process(command, port, folder / f"{name}.log", core) as pid:
        yield Contender(name, pid, port)


def _ready(admin: int) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=2).close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the gateway is not ready")


def knows_workers(source: Path, folder: Path) -> bool:
    """Whether this version can share the work between processes."""
    path = folder / "workers.toml"
    path.write_text(config(free_port(), free_port(), free_port(), folder, workers=2))
    return check(source, path)


def nginx_program() -> str | None:
    """Where nginx is, if it is installed."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@contextmanager
def all_of(builds: dict[str, Path], folder: Path, core: int, other: int) -> Iterator[list[Contender]]:
    """Start all: first the provider, then each build of the gateway, then the peers."""
    own = {core}
    with ExitStack() as stack:
        start = stack.enter_context
        provider = start(provided(folder, {other}))
        found = [start(gateway(name, source, folder, provider, own)) for name, source in builds.items()]
        found += [start(bare(name, folder, provider, own)) for name in ("asyncio", "aiohttp")]
        if program := nginx_program():
            port = free_port()
            (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, provider=provider))
            command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
            found.append(Contender("nginx", start(process(command, port, folder / "nginx.log", own)), port))
        yield [*found, Contender("direct", 0, provider)]
