"""``python -m gateway.workers``: one worker; the supervisor starts it."""

from __future__ import annotations

from gateway.compiled import prefer


def main() -> None:
    """Run it, compiled where that is the case."""
    prefer()
    from gateway.workers.worker import main as run

    run()


if __name__ == "__main__":
    main()
