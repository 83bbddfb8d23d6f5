"""Hands the gateway's responses to the listener of a session, whatever carried them."""

from __future__ import annotations

from crowetrade_agents.order_entry.port import Response, SessionListener


def hand_over(response: Response, venue: str, listener: SessionListener) -> None:
    """Calls the listener for any response but LogonAccepted, which only the session itself can act upon."""
    match response.WhichOneof("message"):
        case "execution_report":
            listener.on_report(venue, response.execution_report)
        case "cancel_reject":
            listener.on_cancel_reject(venue, response.cancel_reject)
        case "published":
            listener.on_published(venue, response.published.sequence)
        case _:  # a heartbeat, or what a newer gateway knows
            pass
