"""Whether somebody answers the questions of nats-server about connections, as its own monitoring tells.

An authorizer that has just started knows no Strategies and VenueConnections yet, and refuses their processes. So it
subscribes to one more subject when it can judge everybody.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.request
from typing import Any

ACCOUNT, SUBJECT = "AUTH", "_INBOX.authorizer.ready"
"""To which authorizers subscribe that can judge everybody; access-identity.conf lets them alone. Nothing is published
there."""
TIMEOUT_SECONDS = 5.0


async def has_authorizer(monitor_url: str) -> bool:
    """Whether an authorizer that can judge everybody is connected, to this server or to another one of its cluster.
    False where the server does not say."""
    try:
        return await asyncio.to_thread(_has_authorizer, monitor_url)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False


def _has_authorizer(monitor_url: str) -> bool:
    if _read(f"{monitor_url}/subsz?subs=1&acc={ACCOUNT}&test={SUBJECT}").get("subscriptions_list"):
        return True
    routes = _read(f"{monitor_url}/routez?subs=1")["routes"]
    return any(SUBJECT in (route.get("subscriptions_list") or ()) for route in routes)


def _read(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        return dict(json.load(answer))
