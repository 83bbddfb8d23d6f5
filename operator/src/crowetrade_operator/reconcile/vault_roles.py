"""Looks after the Vault role and policy of each venue, as the setting says: writes them, or says how they differ.

This runs beside the reconcilers, which read what was found last: Vault may be slow or away, and trading does not need
it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from crowetrade_api.conditions import Condition, ConditionType, condition
from crowetrade_api.gateway_config import AnyVenue
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.venueconnection import VaultCredentials, VenueConnection
from crowetrade_operator import metrics
from crowetrade_operator.settings import Settings, VaultRoles
from crowetrade_operator.vault import roles
from crowetrade_operator.vault.client import VaultSession, VaultUnavailable, session

log = structlog.get_logger()

Venue = tuple[str, str]
LOOK_SECONDS = 1.0
"""Between two looks whether venues have changed."""
CHECK_SECONDS = 60.0
"""Between two looks into Vault when none has."""


@dataclass(slots=True)
class VaultRoleKeeper:
    """`venues` lists all, readable or not, of the namespaces that it `sees`: of others nobody knows which venues are
    gone. `changed` is called with each whose condition is another one now."""

    settings: Settings
    venues: Callable[[], Sequence[AnyVenue]]
    sees: Callable[[str], bool]
    changed: Callable[[str, str], None] = lambda *_: None
    clock: Callable[[], float] = time.monotonic
    _found: dict[Venue, Condition] = field(default_factory=dict)

    def condition(self, namespace: str, name: str) -> Condition | None:
        """What was found last; None where nobody looks."""
        return self._found.get((namespace, name))

    async def run(self) -> None:
        """Looks until it is cancelled; for ever at nothing when the setting is None."""
        if self.settings.vault_roles == VaultRoles.NONE or not self.settings.vault_address:
            await asyncio.Event().wait()
        seen: Mapping[Venue, object] = {}
        due = 0.0
        while True:
            venues = self.venues()
            asked = {(item.namespace, item.name): _keys(item) for item in venues}
            if asked != seen or self.clock() >= due:
                seen, due = asked, self.clock() + CHECK_SECONDS
                self._take(await asyncio.to_thread(self._look, venues))
            await asyncio.sleep(LOOK_SECONDS)

    def _take(self, found: dict[Venue, Condition]) -> None:
        before, self._found = self._found, found
        for venue, item in found.items():
            if before.get(venue) != item:
                self.changed(*venue)
        wrong = sum(item.status != "True" for item in found.values())
        metrics.VAULT_ROLES_WRONG.set(wrong)

    def _look(self, all_venues: Sequence[AnyVenue]) -> dict[Venue, Condition]:
        """Asks Vault about those that have keys there, with one login. Blocks."""
        venues = [item for item in all_venues if isinstance(item, VenueConnection) and _keys(item) is not None]
        try:
            with session(self.settings) as vault:
                found = {(item.namespace, item.name): self._of_venue(vault, item) for item in venues}
                if self.settings.vault_roles == VaultRoles.MANAGE:
                    unreadable = [item for item in all_venues if not isinstance(item, VenueConnection)]
                    self._delete_orphans(vault, [*found, *((item.namespace, item.name) for item in unreadable)])
                return found
        except VaultUnavailable as error:
            log.warning("vault_roles_not_seen", error=str(error))
            text = f"The Vault roles are not known: {error}."
            unknown = condition(ConditionType.VAULT_ROLE_RIGHT, "Unknown", Reason.VAULT_UNREACHABLE, text)
            return {(item.namespace, item.name): unknown for item in venues}

    def _of_venue(self, vault: VaultSession, venue: VenueConnection) -> Condition:
        type_, keys = ConditionType.VAULT_ROLE_RIGHT, _keys(venue)
        assert keys is not None
        role, managed = roles.wanted(venue, keys), self.settings.vault_roles == VaultRoles.MANAGE
        if managed:
            refused = roles.unmanageable(venue, keys, self.settings.vault_managed_prefix)
            if refused:
                return condition(type_, False, Reason.VAULT_ROLE_NOT_MANAGED, f"{refused}.")
        wrong = roles.differences(role, vault.role(role.name), managed=managed)
        if managed and (wrong or vault.policy(role.name) != role.policy):
            vault.write(role)
            log.info("vault_role_written", venue=venue.name, namespace=venue.namespace, role=role.name, was=wrong)
            wrong = []
        if wrong:
            where = f"Role {role.name} of auth/{vault.auth_path}"
            text = f"{where} is not for this gateway alone: {'; '.join(wrong)}. Correct it in Vault."
            return condition(type_, False, Reason.VAULT_ROLE_DIFFERS, text)
        return condition(type_, True, Reason.VAULT_ROLE_AS_WANTED, f"Role {role.name} is bound to this gateway alone.")

    def _delete_orphans(self, vault: VaultSession, venues: Sequence[Venue]) -> None:
        for name in roles.orphans(vault.roles(), venues, self.sees):
            vault.delete(name)
            log.info("vault_role_deleted", role=name)


def _keys(venue: AnyVenue) -> VaultCredentials | None:
    credentials = venue.spec.credentials if isinstance(venue, VenueConnection) else None
    return credentials.vault if credentials is not None else None
