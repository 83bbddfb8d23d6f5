"""The frames of HTTP/2 (RFC 9113) that a peer sends before it freezes: it takes part in the connection, and then
answers no ping."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""Of a client: section 3.4."""
SETTINGS = bytes(3) + b"\x04\x00" + bytes(4)
SETTINGS_TAKEN = bytes(3) + b"\x04\x01" + bytes(4)
"""A SETTINGS frame without settings, and one that acknowledges the peer's: section 6.5."""
PING, PING_ANSWERED = 6, b"\x00\x00\x08\x06\x01" + bytes(4)
"""The type of a PING frame, and what stands before the eight bytes of one that answers it: section 6.7."""
HEADER_BYTES = 9
FROZEN_SECONDS = 60
"""Longer than the pings' times, for a machine that is slow."""
