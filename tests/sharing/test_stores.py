"""One suite for all stores by which gateways share quotas, on the real servers."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from support.gateway import free_port
from support.postgresql import ask as query
from support.postgresql import database
from support.relay import Relay
from support.shared_store import RedisServer, redis_server

from gateway.sharing.store import (
    HELLO_SECONDS,
    SHARE,
    Ask,
    Forgotten,
    LeaseStore,
    Lent,
    Notice,
    Stand,
    StoreUnavailable,
    Superseded,
    Taken,
    Window,
)
from gateway.sharing.stores import store_of

HOUR_NS = 3_600_000_000_000
START_NS = 1_790_000_000_000_000_000 // HOUR_NS * HOUR_NS
HOUR = Window("rule@1", "team-a", 3, START_NS, START_NS + HOUR_NS)
Make = Callable[[], LeaseStore]


@pytest.fixture(scope="module", params=["postgresql", "redis"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "postgresql":
        with database() as found:
            yield found
    else:
        with redis_server(tmp_path_factory.mktemp("redis")) as server:
            yield server.url


@pytest.fixture
def make(url: str) -> Make:
    """Makes stores that are one empty place to all who use them in this test."""
    name = f"test_{secrets.token_hex(4)}"

    def made() -> LeaseStore:
        if url.startswith("redis"):
            from gateway.sharing.redis import RedisStore

            return RedisStore(url, f"{{{name}}}:")
        from gateway.sharing.postgresql import PostgresqlStore

        return PostgresqlStore(url, f'{name} "odd"')

    return made


async def begun(make: Make, gateway: str, *taken: Taken, process: str = "p") -> LeaseStore:
    store = make()
    await store.connect(lambda notice: None)
    await store.begin(gateway, process, taken)
    return store


@asynccontextmanager
async def stores(make: Make, *gateways: str) -> AsyncIterator[list[LeaseStore]]:
    """Connected, begun with nothing, and past the time in which an empty store lends nothing."""
    found, waits = [], 0.0
    for gateway in gateways:
        store = make()
        await store.connect(lambda notice: None)
        waits = max(waits, await store.begin(gateway, "p", ()))
        found.append(store)
    await asyncio.sleep(waits)
    for store in found:
        await store.alive(())
    try:
        yield found
    finally:
        for store in found:
            await store.close()


def ask(least: int, limit: int, window: Window = HOUR, lasting: int | None = None) -> Ask:
    return Ask(window, least, limit, limit if lasting is None else lasting)


async def until(what: str, true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


async def test_all_of_what_is_asked_or_nothing(make: Make) -> None:
    async with stores(make, "a", "b") as (one, other):
        assert await one.ask([ask(60, 100)]) == [Lent(60, 40, elsewhere=False)]
        assert await other.ask([ask(41, 100)]) == [Lent(0, 40, elsewhere=False)]
        assert await other.ask([ask(40, 100)]) == [Lent(40, 0, elsewhere=False)]
        assert await one.ask([ask(1, 90)]) == [Lent(0, -10, elsewhere=False)]
        # another unit, another bucket, another window are others
        for window in (
            Window("rule@1", "team-a", 1, HOUR.start_ns, HOUR.end_ns),
            Window("rule@1", "team-b", 3, HOUR.start_ns, HOUR.end_ns),
            Window("rule@1", "team-a", 3, HOUR.end_ns, HOUR.end_ns + HOUR_NS),
        ):
            assert await one.ask([ask(100, 100, window)]) == [Lent(100, 0, elsewhere=False)]


async def test_shares_are_made_of_what_lasts_for_those_who_live(make: Make) -> None:
    async with stores(make, "a", "b") as (one, other):
        (lent,) = await one.ask([ask(10, 1000)])
        assert lent == Lent(10 + 990 // (SHARE * 2), 1000 - 10 - 990 // (SHARE * 2), elsewhere=False)
        taken = lent.amount
        # a raise ends: of it there are no shares
        (lent,) = await other.ask([ask(10, 10_000, lasting=taken + 20)])
        assert (lent.amount, lent.free) == (10, 10_000 - taken - 10)
        (lent,) = await other.ask([ask(950, 1000)])
        assert (lent.amount, lent.elsewhere) == (0, True)
        await one.set([Taken(HOUR, 10)])
        await one.loosened([("rule@1", "team-a")])
        (lent,) = await other.ask([ask(981, 1000)])
        assert (lent.amount, lent.free, lent.elsewhere) == (0, 980, False)
        (lent,) = await other.ask([ask(980, 1000)])
        assert lent.amount == 980


async def test_who_was_not_heard_of_is_not_waited_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import gateway.sharing.postgresql
    import gateway.sharing.redis

    for module in (gateway.sharing.postgresql, gateway.sharing.redis):
        monkeypatch.setattr(module, "ALIVE_SECONDS", 0.3)
    async with stores(make, "a", "b") as (one, other):
        (lent,) = await one.ask([ask(10, 1000)])
        assert lent.amount > 10
        (lent,) = await other.ask([ask(950, 1000)])
        assert lent.elsewhere
        await asyncio.sleep(0.5)
        (lent,) = await other.ask([ask(950, 1000)])
        assert not lent.elsewhere


async def test_what_is_set_holds_whatever_the_limit_is(make: Make) -> None:
    async with stores(make, "a", "b") as (one, other):
        assert (await one.ask([ask(50, 100)]))[0].amount == 50
        await one.set([Taken(HOUR, 130)])
        assert await other.ask([ask(1, 100)]) == [Lent(0, -30, elsewhere=False)]
        await one.set([Taken(HOUR, 20), Taken(HOUR, 30)])
        await one.set([Taken(HOUR, 30)])
        assert await other.ask([ask(70, 100)]) == [Lent(70, 0, elsewhere=False)]


async def test_a_gateway_that_begins_again_holds_what_it_says_and_nothing_else(make: Make) -> None:
    async with stores(make, "a", "b") as (one, other):
        day = Window("rule@2", "", 0, START_NS, START_NS + 24 * HOUR_NS)
        assert [lent.amount for lent in await one.ask([ask(90, 100), ask(90, 100, day)])] == [90, 90]
        assert (await other.ask([ask(5, 100)]))[0].amount == 5
        again = await begun(make, "a", Taken(HOUR, 40), process="q")
        found = await other.ask([ask(55, 100), ask(100, 100, day)])
        assert [(lent.amount, lent.free) for lent in found] == [(55, 0), (100, 0)]
        # the process before it can do nothing more
        for call in (
            one.set([Taken(HOUR, 0)]),
            one.ask([ask(1, 1000)]),
            one.alive(()),
            one.loosened([("rule@1", "team-a")]),
            one.others(0),
        ):
            with pytest.raises(Superseded):
                await call
        assert (await again.ask([ask(1, 100)]))[0].free == 0
        await again.close()


async def test_a_store_that_does_not_know_a_gateway_says_so(make: Make) -> None:
    async with stores(make, "a") as (one,):
        store = make()
        await store.connect(lambda notice: None)
        with pytest.raises(Forgotten):
            await store.ask([ask(1, 100)])
        assert (await one.ask([ask(1, 100)]))[0].amount
        await store.close()


async def test_parts_of_a_rolling_window_count_together(make: Make) -> None:
    part_ns = HOUR_NS // 60

    def part(number: int) -> Window:
        start = START_NS + number * part_ns
        return Window("r", "", 3, start, start + part_ns, HOUR_NS)

    async with stores(make, "a", "b") as (one, other):
        assert (await one.ask([ask(60, 100, part(0))]))[0].amount == 60
        assert (await other.ask([ask(60, 100, part(5))]))[0] == Lent(0, 40, elsewhere=False)
        assert (await other.ask([ask(40, 100, part(60))]))[0].amount == 40
        # the first part's end lies an hour back: it counts no more
        assert (await one.ask([ask(60, 100, part(61))]))[0].amount == 60
        # what comes late counts with what is behind it
        assert (await one.ask([ask(1, 100, part(1))]))[0].amount == 0


@pytest.mark.parametrize("least", [2**53 + 1, 2**62, 5 * 10**17 + 3])
async def test_amounts_are_exact_up_to_the_largest(make: Make, least: int) -> None:
    limit = 2**63 - 1
    async with stores(make, "a", "b") as (one, other):
        assert (await one.ask([ask(least, least)]))[0] == Lent(least, 0, elsewhere=False)
        assert (await other.ask([ask(limit, limit)]))[0] == Lent(0, limit - least, elsewhere=False)
        assert (await other.ask([ask(limit - least + 1, limit)]))[0].amount == 0
        assert (await other.ask([ask(limit - least, limit)]))[0] == Lent(limit - least, 0, elsewhere=False)
        # and beyond: what was used can't be refused
        await one.set([Taken(HOUR, limit)])
        assert (await other.ask([ask(1, limit)]))[0].free == -(limit - least)


async def test_how_others_stand_is_told_once_it_has_changed(make: Make) -> None:
    async with stores(make, "a", "b", "c") as (one, two, three):
        odd = Window("rule@1", 'x"y\\|\x00\udc80é' + "z" * 9000, 0, HOUR.start_ns, HOUR.end_ns)
        stands, since = await three.others(0)
        assert stands == []
        await one.alive([Stand(HOUR, 7, 0), Stand(odd, 3, 0)])
        await two.alive([Stand(HOUR, -2, 0)])
        await two.set([Taken(HOUR, 11)])
        stands, since = await three.others(since)
        assert {stand.window: (stand.used, stand.taken) for stand in stands} == {HOUR: (5, 11), odd: (3, 0)}
        await three.alive([Stand(HOUR, 100, 0)])
        await one.alive([Stand(odd, 4, 0)])
        stands, since = await three.others(since)
        assert Stand(odd, 4, 0) in stands
        assert all(stand == Stand(HOUR, 5, 11) for stand in stands if stand.window == HOUR)
        stands, _ = await one.others(0)
        assert {stand.window: stand.used for stand in stands if stand.window == HOUR} == {HOUR: 98}


async def test_notices_are_heard_by_all_others_whatever_the_bucket(make: Make) -> None:
    heard: dict[str, list[Notice]] = {"a": [], "b": [], "c": []}
    found = []
    for name, list_ in heard.items():
        store = make()
        await store.connect(list_.append)
        await store.begin(name, "p", ())
        found.append(store)
    await asyncio.sleep(0.3)
    said = [Notice(True, "rule@1", "team-a"), Notice(False, "r", 'x"\x00\udc80é ' * 3000), Notice(True, "r", "")]
    for notice in said:
        await found[0].say(notice)
    await until("both heard", lambda: len(heard["b"]) == len(heard["c"]) == 3)
    assert heard == {"a": [], "b": said, "c": said}
    for store in found:
        await store.close()


async def test_what_is_long_past_is_forgotten(make: Make) -> None:
    async with stores(make, "a", "b") as (one, other):
        past = Window("old", "", 0, START_NS - 2 * HOUR_NS, START_NS - HOUR_NS)
        rolling = Window("old", "r", 0, START_NS - 2 * HOUR_NS, START_NS - HOUR_NS, 24 * HOUR_NS)
        await one.set([Taken(past, 5), Taken(rolling, 5), Taken(HOUR, 5)])
        await other.tidy(START_NS)
        stands, _ = await other.others(0)
        assert {stand.window for stand in stands if stand.taken} == {rolling, HOUR}
        assert (await other.ask([ask(95, 100)]))[0].amount == 95


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_asks_at_the_same_time_the_limit_is_never_passed(make: Make, seed: int) -> None:
    names = ["a", "b", "c", "d"]
    limit, other_limit = 10_000, 777
    part = [
        Window("r", "", 3, START_NS + n * HOUR_NS // 60, START_NS + (n + 1) * HOUR_NS // 60, HOUR_NS) for n in range(3)
    ]
    async with stores(make, *names) as found:
        held: dict[str, dict[Window, int]] = {name: {} for name in names}

        async def busy(name: str, store: LeaseStore) -> None:
            rng = random.Random(f"{seed}{name}")
            mine = held[name]
            for _ in range(40):
                windows = rng.sample([HOUR, *part], 2)
                asks = [
                    ask(rng.randint(1, 400), limit if window == HOUR else other_limit, window) for window in windows
                ]
                for one, lent in zip(asks, await store.ask(asks), strict=True):
                    assert lent.amount == 0 or lent.amount >= one.least
                    mine[one.window] = mine.get(one.window, 0) + lent.amount
                assert sum(each.get(HOUR, 0) for each in held.values()) <= limit
                assert sum(each.get(window, 0) for each in held.values() for window in part) <= other_limit
                if rng.random() < 0.4:
                    # less first here, then there
                    back = {window: rng.randint(0, amount) for window, amount in mine.items()}
                    said = [Taken(window, mine[window] - amount) for window, amount in back.items()]
                    for window, amount in back.items():
                        mine[window] -= amount
                    await store.set(said)

        await asyncio.gather(*(busy(name, store) for name, store in zip(names, found, strict=True)))
        total = sum(each.get(HOUR, 0) for each in held.values())
        assert (await found[0].ask([ask(2**40, limit)]))[0].free == limit - total


async def test_a_way_that_is_cut_is_an_error_and_then_goes_on(make: Make, url: str) -> None:
    relay = Relay(free_port(), address(url))
    relay.up()
    place = f"127.0.0.1:{relay.port}"
    async with stores(make, "other") as (other,):
        store = moved(make(), url, place)
        heard: list[Notice] = []
        await store.connect(heard.append)
        await store.begin("a", "p", ())
        assert (await store.ask([ask(10, 100)]))[0].amount >= 10
        relay.cut()
        relay.up()
        for _ in range(3):
            # of each connection that was cut it may be told once
            with suppress(StoreUnavailable):
                await store.set([Taken(HOUR, 10)])
                break
        assert (await other.ask([ask(90, 100)]))[0].amount == 90
        for _ in range(100):
            with suppress(StoreUnavailable):
                await store.alive(())
            await other.say(Notice(True, "r", "b"))
            await asyncio.sleep(0.05)
            if heard:
                break
        assert heard[0] == Notice(True, "r", "b")
        await store.close()
    relay.cut()


def address(url: str) -> str:
    """Host and port."""
    return (url.partition("@")[2] or url.partition("://")[2]).partition("/")[0]


def moved(store: LeaseStore, url: str, place: str) -> LeaseStore:
    """The same store by another way."""
    there = url.replace(address(url), place)
    if url.startswith("redis"):
        return type(store)(there, store._prefix)  # type: ignore[attr-defined, call-arg]
    return type(store)(there, store._schema)  # type: ignore[attr-defined, call-arg]


async def test_a_server_that_is_silent_is_not_waited_for_long(url: str) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        place = f"127.0.0.1:{mute.getsockname()[1]}"
        store = store_of(f"{url.partition('://')[0]}://{place}/x")
        with pytest.raises(StoreUnavailable, match=place):
            await asyncio.wait_for(store.connect(lambda notice: None), 10)
        await store.close()


async def test_a_redis_that_was_killed_knows_all_that_it_answered(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        store = store_of(server.url)
        await store.connect(lambda notice: None)
        await asyncio.sleep(await store.begin("a", "p", ()))
        assert store.weakness == "" or "noeviction" in store.weakness
        assert (await store.ask([ask(60, 100)]))[0].amount == 60
        await restarted(server)
        assert (await store.ask([ask(41, 100)]))[0] == Lent(0, 40, elsewhere=False)
        await store.close()


async def test_a_redis_that_forgot_lends_nothing_until_all_had_time_to_tell_it(tmp_path: Path) -> None:
    with redis_server(tmp_path, keeps=False) as server:
        one, other = store_of(server.url), store_of(server.url)
        for store, name in ((one, "a"), (other, "b")):
            await store.connect(lambda notice: None)
            waits = await store.begin(name, "p", ())
        assert 0 < waits <= HELLO_SECONDS
        assert "appendonly yes" in one.weakness
        with pytest.raises(StoreUnavailable, match="hears all gateways first"):
            await one.ask([ask(1, 100)])
        await asyncio.sleep(waits)
        assert (await one.ask([ask(60, 100)]))[0].amount == 60
        await restarted(server)
        with pytest.raises(Forgotten):
            await other.ask([ask(60, 100)])
        await other.begin("b", "p", ())
        with pytest.raises(StoreUnavailable, match="hears all gateways first"):
            await other.ask([ask(60, 100)])
        waits = await one.begin("a", "p", [Taken(HOUR, 60)])
        await asyncio.sleep(waits)
        assert (await other.ask([ask(60, 100)]))[0] == Lent(0, 40, elsewhere=True)
        await one.close()
        await other.close()


async def restarted(server: RedisServer) -> None:
    server.kill()
    await asyncio.to_thread(server.start)


async def test_a_database_that_was_emptied_is_made_anew(tmp_path: Path) -> None:
    with database() as url:
        store = store_of(url)
        await store.connect(lambda notice: None)
        assert store.weakness == ""
        await store.begin("a", "p", ())
        assert (await store.ask([ask(60, 100)]))[0].amount == 60
        await asyncio.to_thread(query, url, "DROP SCHEMA spendgate_quotas CASCADE")
        with pytest.raises(Forgotten):
            await store.ask([ask(1, 100)])
        await store.begin("a", "p", [Taken(HOUR, 60)])
        assert (await store.ask([ask(41, 100)]))[0].free == 40
        await store.close()


async def test_several_gateways_may_make_the_schema_at_once() -> None:
    with database() as url:
        found = [store_of(url) for _ in range(8)]
        await asyncio.gather(*(store.connect(lambda notice: None) for store in found))
        for store in found:
            await store.close()
