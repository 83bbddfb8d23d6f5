from __future__ import annotations

import asyncio

import pytest

from crowetrade import subjects
from crowetrade_operator.bus.inbox import NO_SCHEMA, Inbox, schema_of

SCHEMA = "crowetrade.bus.v1.AgentStatus"
HEADER = f"{subjects.SCHEMA_HEADER}: {SCHEMA}".encode()


def test_a_message_that_is_not_read_is_replaced_and_its_sender_keeps_its_turn() -> None:
    now = [1.0]
    inbox = Inbox(lambda: now[0])
    assert not inbox.keep("a", SCHEMA, b"1")
    assert not inbox.keep("b", SCHEMA, b"1")
    now[0] = 2.0
    assert inbox.keep("a", SCHEMA, b"2")
    assert len(inbox) == 2
    assert inbox.next() == ("a", SCHEMA, b"2", 2.0)
    assert not inbox.keep("a", SCHEMA, b"3"), "what has been read is not replaced"
    assert inbox.next() == ("b", SCHEMA, b"1", 1.0)
    assert inbox.next() == ("a", SCHEMA, b"3", 2.0)
    assert inbox.next() is None


def test_of_those_who_are_silent_nothing_is_kept() -> None:
    now = [1.0]
    inbox = Inbox(lambda: now[0])
    inbox.keep("a", SCHEMA, b"1")
    now[0] = 2.0
    inbox.keep("b", SCHEMA, b"1")
    inbox.forget(2.0)
    assert len(inbox) == 1
    assert inbox.next() == ("b", SCHEMA, b"1", 2.0)


async def test_whoever_reads_waits_for_a_message() -> None:
    inbox = Inbox(lambda: 0.0)
    reader = asyncio.create_task(inbox.wait())
    await asyncio.sleep(0)
    assert not reader.done()
    inbox.keep("a", SCHEMA, b"1")
    await reader
    await inbox.wait()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (b"NATS/1.0\r\n" + HEADER + b"\r\n\r\n", SCHEMA),
        (b"NATS/1.0\r\ntraceparent: 00-1\r\n" + HEADER + b"\r\n\r\n", SCHEMA),
        (b"NATS/1.0\r\n\r\n", NO_SCHEMA),
        (b"NATS/1.0 " + HEADER + b"\r\n\r\n", NO_SCHEMA),
        (b"NATS/1.0\r\ntraceparent: " + HEADER + b"\r\n\r\n", NO_SCHEMA),
        (b"", NO_SCHEMA),
        (b"NATS/1.0\r\n" + subjects.SCHEMA_HEADER.encode() + b": \xff\r\n\r\n", "\ufffd"),
    ],
)
def test_the_schema_of_headers_as_they_come(headers: bytes, expected: str) -> None:
    assert schema_of(headers) == expected
