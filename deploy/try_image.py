"""Runs the Dockerfile's own commands in an empty folder, where no container engine is at hand, then what they made:

    python deploy/try_image.py

Absolute paths of the image stand below the folder; this machine's Python stands for the base image. RUN and COPY of
the first stage are carried out; of the last stage: ENTRYPOINT and CMD with its ENV, until HEALTHCHECK succeeds, then
STOPSIGNAL. It shows that the commands work, not that the base image does. Nothing is mounted; no root is needed.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTSIDE = re.compile(r"(?<![\w./-])/(?=(?:opt|src|etc|var)\b)")
"""Where a path of the image begins."""
HEALTHY_SECONDS = 60


def instructions() -> list[list[tuple[str, str]]]:
    """Stages; of each, words and what follows them."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    stages: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, rest = line.split(None, 1)
            if word == "FROM":
                stages.append([])
            stages[-1].append((word, rest))
    return stages


def environment(**more: str) -> dict[str, str]:
    """Nothing of this shell but what pip needs to find packages."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_CERT"))}
    python = Path(sys.base_prefix) / "bin"
    return {"PATH": f"{python}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **kept, **more}


def build(folder: Path, steps: list[tuple[str, str]]) -> None:
    """The first stage."""
    workdir = folder
    for word, rest in steps:
        print(f"{word} {rest}"[:150], flush=True)
        if word == "WORKDIR":
            workdir = folder / rest.lstrip("/")
            workdir.mkdir(parents=True)
        elif word == "RUN":
            (folder / "opt").mkdir(exist_ok=True)
            inside = OUTSIDE.sub(f"{folder}/", rest)
            subprocess.run(["/bin/sh", "-ec", inside], cwd=workdir, env=environment(), check=True)
        elif word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                found, place = ROOT / source, workdir / target
                if found.is_dir():
                    shutil.copytree(found, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    (place if target.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
                    shutil.copy(found, place)


def words(text: str) -> list[str]:
    """The words of ``["a", "b"]``."""
    found: list[str] = ast.literal_eval(text[text.index("[") :])
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def try_out(folder: Path, steps: list[tuple[str, str]]) -> None:
    """Start what was built as an engine would; wait until it is healthy; stop it."""
    told = {word: rest for word, rest in steps if word not in ("RUN", "COPY", "ENV")}
    pairs = [part for word, rest in steps if word == "ENV" for part in shlex.split(rest)]
    own = {name: OUTSIDE.sub(f"{folder}/", value) for name, value in (pair.split("=", 1) for pair in pairs)}
    env = environment()
    own["PATH"] = own["PATH"].replace("$PATH", env["PATH"])
    port, admin = free_port(), free_port()
    health = own["SPENDGATE_HEALTH_URL"].replace(":8080", f":{port}")
    env |= own | {"SPENDGATE_ADMIN_TOKEN": "try-image-admin-token", "SPENDGATE_HEALTH_URL": health}
    config = (ROOT / "deploy" / "config.toml").read_text().replace("0.0.0.0:8080", f"127.0.0.1:{port}")
    data = folder / told["VOLUME"].lstrip("/")
    config = config.replace("0.0.0.0:8081", f"127.0.0.1:{admin}").replace(told["VOLUME"], str(data))
    data.mkdir(parents=True)
    place = Path(own["SPENDGATE_CONFIG"])
    place.parent.mkdir(parents=True)
    place.write_text(config)
    process = subprocess.Popen([*words(told["ENTRYPOINT"]), *words(told["CMD"])], env=env, cwd=data)
    try:
        check = words(told["HEALTHCHECK"].split("CMD", 1)[1])
        deadline = time.monotonic() + HEALTHY_SECONDS
        while subprocess.run(check, env=env, stderr=subprocess.DEVNULL).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"not healthy; the process: {process.poll()}")
            time.sleep(0.3)
        process.send_signal(getattr(signal, told["STOPSIGNAL"]))
        code = process.wait(60)
    finally:
        process.kill()
    if code:
        raise SystemExit(f"ended with {code} on {told['STOPSIGNAL']}")
    if (data / "ledger.db").exists() is False:
        raise SystemExit("wrote no ledger")


def main() -> None:
    first, *_, last = instructions()
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        build(folder, first)
        size = sum(path.lstat().st_size for path in (folder / "opt").rglob("*"))
        try_out(folder, last)
        print(f"healthy, ended cleanly; {size >> 20} MiB above the base image")


if __name__ == "__main__":
    main()
