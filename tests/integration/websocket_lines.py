"""A WebSocket client (RFC 6455) that does one thing: receive the text messages of a local server.

It offers no extension, so the frames come plain; it answers pings, and joins fragments.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import time

_CONTINUATION, _TEXT, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x8, 0x9, 0xA
_FINAL, _MASKED = 0x80, 0x80
_ACCEPT_SALT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ClosedByServerError(Exception):
    """The server closed the connection; no further message will come."""


class WebSocketLines:
    """A connection to `ws://127.0.0.1:port/path`, to be closed; a message may take `timeout_s`."""

    def __init__(self, port: int, path: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._stream = self._socket.makefile("rb")
        try:
            self._shake_hands(port, path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        self._stream.close()
        self._socket.close()

    def receive(self, count: int) -> list[str]:
        """Return the next `count` text messages."""
        return [self._receive_one() for _ in range(count)]

    def _shake_hands(self, port: int, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode("ascii")
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode("ascii")
        )
        status, *lines = iter(self._read_header_line, "")
        digest = hashlib.sha1((key + _ACCEPT_SALT).encode("ascii")).digest()
        fields = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in fields}
        if headers.get("sec-websocket-accept") != base64.b64encode(digest).decode("ascii"):
            raise ConnectionError(f"no WebSocket at {path}: the server answered {status!r}")

    def _read_header_line(self) -> str:
        return self._stream.readline().decode("latin-1").rstrip("\r\n")

    def _receive_one(self) -> str:
        message = b""
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            first, second = self._read_exactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", self._read_exactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self._read_exactly(8))
            payload = self._read_exactly(length)
            opcode = first & 0x0F
            if opcode == _CLOSE:
                raise ClosedByServerError(f"closed with code {int.from_bytes(payload[:2], 'big')}")
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode in (_TEXT, _CONTINUATION):
                message += payload
                if first & _FINAL:
                    return message.decode("utf-8")
        raise TimeoutError(f"nothing but control frames within {self._timeout_s} s")

    def _read_exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise ClosedByServerError("the connection ended without a closing frame")
        return data

    def _send(self, opcode: int, payload: bytes) -> None:
        """Send a control frame: at most 125 bytes, masked as every client's frame has to be."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self._socket.sendall(bytes((_FINAL | opcode, _MASKED | len(payload))) + mask + masked)
