"""What the gateway costs, everything on, beside bare proxies in the same run.

    python bench/run.py [--quick | --smoke] [--compile]

Needs Linux. Provider and load have one core, what is measured has another. Without an option a quarter of an hour, with
``--quick`` three; ``--smoke`` only tries whether it works. docs/performance.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import ast
import signal
import sys
import tempfile
from pathlib import Path

from proxying import builds, contenders, machine, table
from proxying.rounds import FULL, QUICK, SMOKE, Rounds, Size, scraped

HERE = Path(__file__).parent


def others() -> str:
    """The benches that stand beside this one: each measures one part alone."""
    lines = ["Parts alone:"]
    for path in sorted(HERE.glob("*.py")):
        if path != Path(__file__):
            said = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
            lines.append(f"  python bench/{path.name:11} {said}")
    return "\n".join(lines)


def measure(size: Size, folder: Path) -> None:
    core, other = machine.cores()
    found = builds.found()
    fsync = machine.fsync_ms(folder, size.fsyncs)
    rounds = Rounds(size, folder, other)
    with contenders.all_of(found, folder, core, other) as running:
        with scraped(running):
            rounds.run(running)
        provider = running[-1].port
        names = [one.name for one in running]
        workers(rounds, found, folder, provider, {core, other})
        name, source = next(iter(found.items()))
        own = Path(tempfile.mkdtemp(dir=folder))
        with contenders.gateway(name, source, own, provider, {core}) as fresh, scraped([fresh]):
            rounds.memory(fresh)
    print(f"\n{table.measured(rounds, names)}\n\n{table.bounded(rounds, list(found), fsync)}\n")
    print(f"One fsync of this disk takes {fsync:.2f} ms (median of {size.fsyncs}).")
    if contenders.nginx_program() is None:
        print("nginx is not installed: no figures of it.")
    if core == other:
        print("This machine has one core: load and proxies share it, the times say little.")
    if not machine.on_disk(folder):
        print("The ledger lay on a file system in memory: its fsync cost nothing. Set TMPDIR to a folder on a disk.")


def workers(rounds: Rounds, found: dict[str, Path], folder: Path, provider: int, cores: set[int]) -> None:
    """What two processes cost beside one: each build of the gateway that can, and a proxy that shares nothing."""

    def own(name: str) -> Path:
        made = folder / "workers" / name
        made.mkdir(parents=True)
        return made

    for name, source in found.items():
        if contenders.knows_workers(source, folder):
            rounds.workers(
                name,
                lambda place, cores, count, name=name, source=source: contenders.gateway(
                    name, source, own(f"{name} {place}"), provider, cores, count
                ),
                cores,
            )
    rounds.workers(
        "asyncio",
        lambda place, cores, count: contenders.bare("asyncio", own(f"asyncio {place}"), provider, cores, count),
        cores,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the gateway beside bare proxies.")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", dest="size", action="store_const", const=QUICK, help="three minutes")
    kind.add_argument("--smoke", dest="size", action="store_const", const=SMOKE, help="a few calls of each kind")
    parser.add_argument("--compile", action="store_true", help="first make the compiled build, where that is possible")
    options = parser.parse_args()
    if not machine.usable():
        print("bench: choosing cores and reading CPU times needs Linux", file=sys.stderr)
        return 1
    # so that what was started is ended too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.compile:
        builds.refresh()
    print(builds.told(), flush=True)
    with tempfile.TemporaryDirectory(prefix="spendgate-bench-") as name:
        measure(options.size or FULL, Path(name))
    print(f"\n{others()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
