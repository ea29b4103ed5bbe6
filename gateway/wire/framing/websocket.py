"""WebSocket frames, read on a copy: messages out of bytes in any chunking. Source: RFC 6455 section 5.

Frames have no extensions: the gateway lets none be agreed.
"""

from __future__ import annotations

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A longer message is passed over."""
MAX_CONTROL_BYTES = 125
_MOST_PARTS = 4096
TEXT, BINARY, CLOSE = 1, 2, 8


class Messages:
    """Text messages of one direction, with ``binary`` all messages; ``masked``: those of a client; None: of
    either. ``broken`` once the bytes are no frames."""

    __slots__ = ("_buffer", "_kinds", "_masks", "_message", "_size", "_skip", "begun", "broken", "closed")

    def __init__(self, *, masked: bool | None = False, binary: bool = False) -> None:
        self._masks = (0, 0x80) if masked is None else (0x80,) if masked else (0,)
        self._kinds = (TEXT, BINARY) if binary else (TEXT,)
        self._buffer = bytearray()
        self._message: list[bytes] | None = None
        self._size = 0
        self._skip = 0
        """Bytes of a frame that is passed over, still to come."""
        self.begun = 0
        """Bytes since the last end of a frame; 0 once there are no frames any more."""
        self.broken = False
        self.closed = False
        """A close frame came: its side will say no more."""

    @property
    def passed_over(self) -> bool:
        """True while a message comes that is too large to be read."""
        return self._skip > 0

    @property
    def at_boundary(self) -> bool:
        """True where no frame is begun: here something may be put between."""
        return not self._buffer and not self._skip and self._message is None

    def feed(self, data: bytes) -> list[bytes]:
        """Text messages that these bytes complete."""
        if self.broken:
            return []
        self.begun += len(data)
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
            if not self._skip:
                self.begun = len(data)
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        while True:
            used = self._frame(found)
            if not used:
                return found
            if used < 0:
                self.broken = True
                self.begun = 0
                buffer.clear()
                return found
            del buffer[:used]
            if not self._skip:
                self.begun = len(buffer)

    def _frame(self, found: list[bytes]) -> int:
        """Take one frame from the buffer; how many bytes it had, 0 where it is not whole, -1 where it is none."""
        buffer = self._buffer
        if len(buffer) < 2:
            return 0
        final, opcode, mask = buffer[0] & 0x80, buffer[0] & 0x0F, buffer[1] & 0x80
        size, start = buffer[1] & 0x7F, 2
        if buffer[0] & 0x70 or mask not in self._masks or (opcode >= CLOSE and (size > MAX_CONTROL_BYTES or not final)):
            return -1
        if size == 126:
            start = 4
            size = int.from_bytes(buffer[2:4], "big")
        elif size == 127:
            start = 10
            size = int.from_bytes(buffer[2:10], "big")
        key = start
        if mask:
            start += 4
        if len(buffer) < start:
            return 0
        if opcode >= CLOSE:
            if len(buffer) < start + size:
                return 0
            self.closed = self.closed or opcode == CLOSE
            return start + size
        if size > MAX_MESSAGE_BYTES:
            self._skip = start + size - len(buffer)
            self._message = None
            return len(buffer)
        if len(buffer) < start + size:
            return 0
        payload = bytes(buffer[start : start + size])
        if mask:
            payload = unmasked(payload, bytes(buffer[key:start]))
        self._take(opcode, bool(final), payload, found)
        return start + size

    def _take(self, opcode: int, final: bool, payload: bytes, found: list[bytes]) -> None:
        if opcode in self._kinds:
            self._message, self._size = [payload], len(payload)
        elif opcode == 0 and self._message is not None:
            self._size += len(payload)
            if self._size > MAX_MESSAGE_BYTES:
                self._message = None
            elif payload:
                self._message.append(payload)
                if len(self._message) > _MOST_PARTS:
                    self._message = [b"".join(self._message)]
        else:
            self._message = None
        if final and self._message is not None:
            found.append(b"".join(self._message))
            self._message = None


def unmasked(payload: bytes, key: bytes) -> bytes:
    """A payload without its mask, or with it."""
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


def close_frame(code: int, reason: str) -> bytes:
    """A server's close frame."""
    text = reason.encode()[:120]
    while True:
        try:
            text.decode()
            break
        except UnicodeDecodeError:
            text = text[:-1]
    payload = code.to_bytes(2, "big") + text
    return bytes((0x80 | CLOSE, len(payload))) + payload
