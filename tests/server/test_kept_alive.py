"""A call may be quiet for minutes: the kernel shows the networks between that its connections are still used."""

from __future__ import annotations

from pathlib import Path

from transport_play import OK, Play, both_loops, post

KEEPALIVE = "02"


def waits_for(port: int) -> set[str]:
    """What the kernel waits for on connections that were accepted at a port, and on those made to it."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = f":{port:04X}"
    return {
        f"{'accepted' if local.endswith(ends) else 'made'} {timer[:2]}"
        for _, local, remote, state, _, timer, *_ in lines
        if state == "01" and (local.endswith(ends) or remote.endswith(ends))
    }


@both_loops
async def test_both_connections_of_a_call_are_kept_alive() -> None:
    async with Play(OK) as play:
        client = await play.connect()
        client.send(post())
        await client.answer()
        assert f"accepted {KEEPALIVE}" in waits_for(play.port)
        assert f"made {KEEPALIVE}" in waits_for(play.endpoint.port)
