"""Kill orders: engaged by whatever brings one, re-armed where a person was checked (control/kills.py)."""

from __future__ import annotations

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.kills import Kill, Rearm, joined, name_of, rearms
from crowetrade_agents.gateway import supervision
from crowetrade_agents.gateway.state import KillProgress, Turn


def engage(turn: Turn, kill: Kill) -> None:
    """Puts an order in force, cancels what may not stay, and journals it. What is in force already, or was re-armed
    since, changes nothing."""
    name, live = name_of(kill.order), turn.live
    current = turn.books.kills.get(name)
    order = joined(current.order if current is not None else None, kill, live.rearmed.get(name))
    if order is None:
        return
    # Whom it has stopped before it goes on to stop.
    kept = current.strategies if current is not None else ()
    body = journal_pb2.KillChanged(order=order, channel=kill.channel, strategies=kept)
    if kill.caller is not None:
        body.caller, body.caller_certificate_sha256 = kill.caller.name, kill.caller.certificate_sha256
    turn.record(journal_pb2.JournalEvent(kill_changed=body))
    progress = live.kills.setdefault(name, KillProgress(kill.channel, kill.received_ns or turn.now_ns))
    progress.stored, progress.blocked_ns, progress.halted_ns = False, 0, 0
    live.kill_stops.clear()
    turn.count("KILLS", kill.channel)
    turn.tell(
        "warning",
        "kill_engaged",
        kill_switch="/".join(name),
        mode=order.mode,
        channel=kill.channel,
        generation=order.generation,
        engaged_by=order.engaged_by,
        reason=order.reason,
    )
    supervision.supervise(turn)


def listed(turn: Turn) -> None:
    """What is engaged at the API server is known from now on."""
    turn.live.kill_switches_unread = False
    turn.tell("info", "kill_switches_listed")
    supervision.supervise(turn)


def rearm(turn: Turn, command: Rearm) -> None:
    """Ends what the object has stopped, and remembers that it did: an older order of it may still be under way."""
    name, live = (command.namespace, command.name), turn.live
    if command.uid:
        uid, generation = live.rearmed.get(name, ("", 0))
        newest = max(generation, command.generation) if uid == command.uid else command.generation
        live.rearmed[name] = command.uid, newest
    current = turn.books.kills.get(name)
    if current is None or not rearms(current.order, command):
        return
    body = journal_pb2.KillChanged(order=current.order, channel=command.channel, rearmed=True)
    turn.record(journal_pb2.JournalEvent(kill_changed=body))
    del live.kills[name]
    live.kill_stops.clear()
    turn.tell("warning", "kill_rearmed", kill_switch="/".join(name), generation=command.generation)
    supervision.supervise(turn)
