"""Messages between two processes of one machine over a socket: whole or not at all, nobody waits for the rest."""

from __future__ import annotations

__all__ = ["Channel"]

import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct("!Q")
_READ = 1 << 20


class Channel:
    """One end of a connected pair.

    A process may be killed or stopped in the middle of a message: what has come of it waits in a buffer until the
    rest is there, so that the other side never waits inside a message.

    Args:
        end: The socket, connected to the other process.
        patience: Seconds that sending may wait for a full buffer; ``None`` for any time.
    """

    def __init__(self, end: socket.socket, patience: float | None = None) -> None:
        self._socket = end
        self._socket.settimeout(patience)
        self._buffer = bytearray()
        self._held = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: Any) -> None:
        """Send one message.

        Raises:
            OSError: The other side is gone, or takes nothing for longer than patience.
        """
        data = pickle.dumps(message, protocol=5)
        with self._held:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> list[Any]:
        """Return the messages that are whole, after reading once.

        Raises:
            EOFError: The other side is gone, and everything it sent was returned before.
        """
        try:
            read = self._socket.recv(_READ)
        except ConnectionError:
            read = b""
        if not read:
            raise EOFError
        self._buffer += read
        return list(self._whole())

    def _whole(self) -> Iterator[Any]:
        begin = 0
        while len(self._buffer) - begin >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, begin)
            end = begin + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            yield pickle.loads(memoryview(self._buffer)[begin + _LENGTH.size : end].tobytes())  # noqa: S301 - of our own child
            begin = end
        del self._buffer[:begin]

    def close(self) -> None:
        """Close this end; the other one sees it."""
        self._socket.close()
