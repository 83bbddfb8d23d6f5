"""The ways by which a kill order reaches gateways. Each is tried until it works, and none waits for another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
from google.protobuf.message import DecodeError
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from crowetrade import subjects
from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_cli.bus import connect, jetstream_api
from crowetrade_cli.errors import Failed, Refused
from crowetrade_cli.fleet.gateways import Address
from crowetrade_cli.fleet.progress import Stage, stage_of
from crowetrade_cli.identity import TLS_FILES
from crowetrade_process.identity.errors import NoServer, ServerRefused
from crowetrade_process.identity.grpc import open_channel

AGAIN_SECONDS = 1.0
"""Between two tries of one way."""
ANSWER_SECONDS = 5.0
"""For what is answered at once or not at all."""
_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 200))

Acknowledged = Callable[[kill_pb2.KillAcknowledgement], None]


async def until_it_works(way: Callable[[], Awaitable[None]], failed: Callable[[str], None]) -> None:
    """Tries it again and again; each failure is told. An answer that will not change is the end."""
    while True:
        try:
            return await way()
        except Failed as error:
            failed(str(error))
            if isinstance(error, Refused) and error.final:
                return None
        await asyncio.sleep(AGAIN_SECONDS)


async def directly(
    target: str,
    order: kill_pb2.KillOrder,
    acknowledged: Acknowledged,
    concerned: Callable[[Address], bool],
    server_name: str = "",
) -> None:
    """Engages the order at the gateway whose control service listens at HOST:PORT, and returns when nothing that it
    cancels is open there any more. Raises Failed, also where the order stops nobody there: such a gateway answers that
    nothing is open, and whether it is one says itself, unless it is known to be `concerned`.

    With TLS, `server_name` is the name in its certificate; without one it stands before the target, NAME=HOST:PORT, or
    is the Service in HOST.
    """
    async with _channel(target, server_name) as channel:
        service = control_pb2_grpc.ControlServiceStub(channel)
        try:
            halted = False
            async for response in service.Kill(control_pb2.KillRequest(order=order)):
                said = response.acknowledgement
                gateway = Address(said.venue_namespace, said.venue)
                if not concerned(gateway) and not await _obeys(service, order):
                    text = f"the gateway of {gateway} answers at {target}, and the order passes it by"
                    raise Failed(f"{text}: nothing is stopped there; -n {gateway.namespace} or -A stops it")
                acknowledged(said)
                halted = stage_of(said) is Stage.HALTED
        except grpc.aio.AioRpcError as error:
            raise Failed(_sentence(target, error)) from error
        if not halted:
            raise Failed(f"{target} has ended before it had halted")


async def _obeys(service: control_pb2_grpc.ControlServiceAsyncStub, order: kill_pb2.KillOrder) -> bool:
    """Whether the gateway lists the order among those that concern it."""
    listed = await service.ListKills(control_pb2.ListKillsRequest(), timeout=ANSWER_SECONDS)
    return any((one.namespace, one.name) == (order.namespace, order.name) for one in listed.kills)


async def kills_at(target: str, server_name: str = "") -> list[kill_pb2.KillAcknowledgement]:
    """Kill orders in force at the gateway whose control service listens at HOST:PORT; `server_name` as for `directly`.
    Raises Failed."""
    async with _channel(target, server_name) as channel:
        service = control_pb2_grpc.ControlServiceStub(channel)
        try:
            response = await service.ListKills(control_pb2.ListKillsRequest(), timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Failed(_sentence(target, error)) from error
        return list(response.kills)


async def by_the_bus(
    url: str, order: kill_pb2.KillOrder, stored: Callable[[], None], heard: Callable[[status_pb2.GatewayStatus], None]
) -> None:
    """Puts the order where every gateway watches; then tells what gateways say, for as long as the bus is there.
    Raises Failed."""
    async with connect(url) as client:
        statuses = await client.subscribe(subjects.gateway_status("*", "*"))
        try:
            bucket = await client.jetstream(prefix=jetstream_api(), timeout=ANSWER_SECONDS).key_value(
                subjects.KILL_BUCKET
            )
            await bucket.put(subjects.kill_key(order.namespace, order.name), order.SerializeToString())
        except NotFoundError as error:
            raise Failed(
                f"NATS at {url} has no bucket {subjects.KILL_BUCKET}: the operator makes it when it starts"
            ) from error
        except (NatsError, OSError, TimeoutError) as error:
            raise Failed(f"NATS at {url} did not take the order ({error or type(error).__name__})") from error
        stored()
        async for message in statuses.messages:
            try:
                heard(status_pb2.GatewayStatus.FromString(message.data))
            except DecodeError:
                continue
    raise Failed(f"NATS at {url} has closed the connection; the order is stored there")


@asynccontextmanager
async def _channel(target: str, server_name: str) -> AsyncIterator[grpc.aio.Channel]:
    """Raises Failed."""
    name, _, address = target.rpartition("=")
    try:
        async with open_channel(address, await TLS_FILES.identity(), server_name or name, _OPTIONS) as channel:
            yield channel
    except ServerRefused as error:
        raise Failed(f"what answers at {target} is not to be trusted: {error}") from error
    except NoServer as error:
        raise Failed(f"nobody answers at {target} ({error})") from error


def _sentence(target: str, error: grpc.aio.AioRpcError) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return f"nobody answers at {target}" + (f" ({error.details()})" if TLS_FILES.directory else "")
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"what answers at {target} is no gateway's control service"
        case code:
            return f"{target} answers {code.name}: {error.details()}"
