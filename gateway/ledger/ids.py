"""Request ids: unique, and sorted by the time at which they were made."""

from __future__ import annotations

from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PREFIX = "req_"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def _base32(number: int, pairs: int) -> str:
    """``number`` in ``2 * pairs`` Crockford digits, which sort as the numbers do."""
    out = []
    for _ in range(pairs):
        out.append(_PAIRS[number & 1023])
        number >>= 10
    out.reverse()
    return "".join(out)


class Ids:
    """Makes ids of 26 digits: 50 bits of milliseconds, 40 bits of this process, 40 bits that count.

    A clock that is set back makes no id twice and none that sorts before an earlier one of this process.
    """

    __slots__ = ("_clock", "_counter", "_ended", "_head", "_high", "_millis", "_node", "_second", "_stamp")

    def __init__(self, clock_ns: Callable[[], int], random_bits: Callable[[int], int]) -> None:
        self._clock = clock_ns
        self._node = _base32(random_bits(40), 4)
        self._counter = random_bits(20)
        self._high = ""
        """The digits of the counter but the last two, which alone change from call to call."""
        self._millis = 0
        self._second = -1
        """Which 1024 milliseconds these are…"""
        self._stamp = ""
        """…in digits."""
        self._head = ""
        """All digits before those two."""
        self._ended = 0
        """The counter at which the digits before those two change."""

    @property
    def node(self) -> str:
        """How all ids of this process end."""
        return self._node

    def __call__(self) -> str:
        millis = self._clock() // 1_000_000
        counter = self._counter = self._counter + 1
        if millis > self._millis or counter >= self._ended:
            self._begin(max(millis, self._millis), counter)
        return f"{self._head}{_PAIRS[counter & 1023]}{self._node}"

    def _begin(self, millis: int, counter: int) -> None:
        """A millisecond begins, or the digits of the counter before the last two change."""
        self._millis = millis
        if counter >= self._ended:
            self._high = _base32(counter >> 10, 3)
            self._ended = (counter | 1023) + 1
        if millis >> 10 != self._second:
            self._second = millis >> 10
            self._stamp = PREFIX + _base32(self._second, 4)
        self._head = self._stamp + _PAIRS[millis & 1023] + self._high


def first_id_at(time_ns: int) -> str:
    """An id that sorts before every id made at or after this time, and after those made before its millisecond."""
    return PREFIX + _base32(max(0, time_ns) // 1_000_000, 5)


def time_of_id(request_id: str) -> int:
    """Nanoseconds of the millisecond in which an id was made. Raises ``ValueError`` for what is no id."""
    digits = request_id[len(PREFIX) : len(PREFIX) + 10]
    if not request_id.startswith(PREFIX) or len(digits) < 10:
        raise ValueError("no id of a request")
    millis = 0
    for digit in digits:
        millis = millis << 5 | _ALPHABET.index(digit)
    return millis * 1_000_000
