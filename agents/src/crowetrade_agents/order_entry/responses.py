"""Hands the gateway's responses to the listener of a session, whatever carried them."""

from __future__ import annotations

from collections.abc import Sequence

from crowetrade_agents.order_entry.port import Response, SessionListener


def responses_of(message: Response) -> Sequence[Response]:
    """The responses that a message carries, in order."""
    return message.several.responses if message.HasField("several") else (message,)


def hand_over(message: Response, venue: str, listener: SessionListener) -> None:
    """Calls the listener for any response but LogonAccepted, which only the session itself can act upon."""
    for response in responses_of(message):
        match response.WhichOneof("message"):
            case "execution_report":
                listener.on_report(venue, response.execution_report)
            case "cancel_reject":
                listener.on_cancel_reject(venue, response.cancel_reject)
            case "published":
                listener.on_published(venue, response.published.sequence)
            case _:  # a heartbeat, or what a newer gateway knows
                pass
