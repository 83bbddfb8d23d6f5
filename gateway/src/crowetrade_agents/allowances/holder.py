"""What one gateway process knows of the ledgers, and what it may use by them. Pure.

It may use what its own entry says, written by this very process (so that nothing of an earlier one can follow). An
exchange without an answer may have happened, and may still happen: as long as the ledger is at the revision on which it
was based, the process uses no more than either of them gives it. Before it gives something back it uses it no more;
before it uses more, the exchange has succeeded. After a ledger that is older than what was known, it uses nothing until
it has written itself again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from crowetrade_agents.allowances.ledger import Entry, Ledger, Share, decode, encode, with_share
from crowetrade_agents.allowances.split import Need, Wish, decide
from crowetrade_agents.errors import LedgerUnreadable

Key = tuple[str, str]
"""uid of the RiskLimit, limit."""


class Needs(NamedTuple):
    """What this gateway needs of the limits of one RiskLimit, by limit, and among how many gateways they are split."""

    gateways: int
    limits: Mapping[str, Need]


class Exchange(NamedTuple):
    """A ledger that is to replace the one of that revision."""

    uid: str
    revision: int
    payload: bytes
    mine: Mapping[str, Share]


class _Known(NamedTuple):
    revision: int
    ledger: Ledger
    problem: str = ""
    # A later revision was known before: the answer was old, or somebody has replaced the bucket.
    went_back: bool = False


class Holder:
    """Of one gateway process; `fencing_token` is that of its journal."""

    def __init__(self, venue: str, fencing_token: int) -> None:
        self._venue = venue
        self._token = fencing_token
        self._known: dict[str, _Known] = {}
        # What exchanges without an answer would give it, all of them based on the revision that is known.
        self._unanswered: dict[str, list[Mapping[str, Share]]] = {}

    def read(self, uid: str, entry: Entry) -> None:
        """This is the ledger now."""
        known = self._known.get(uid)
        if known is not None and known.revision == entry.revision:
            return
        went_back = known is not None and (known.went_back or entry.revision < known.revision)
        self._know(uid, entry, went_back)

    def _know(self, uid: str, entry: Entry, went_back: bool) -> None:
        self._unanswered.pop(uid, None)
        try:
            self._known[uid] = _Known(entry.revision, decode(entry.payload), "", went_back)
        except LedgerUnreadable as error:
            self._known[uid] = _Known(entry.revision, {}, str(error), went_back)

    @property
    def problems(self) -> Mapping[str, str]:
        """Why nothing can be held of a RiskLimit, by uid."""
        return {uid: known.problem for uid, known in self._known.items() if known.problem}

    @property
    def read_uids(self) -> frozenset[str]:
        """RiskLimits whose ledger is known."""
        return frozenset(self._known)

    def held_somewhere(self) -> Iterable[str]:
        """RiskLimits in whose ledgers the gateway stands."""
        return [uid for uid, known in self._known.items() if any(self._venue in item for item in known.ledger.values())]

    def usable(self) -> Mapping[Key, int]:
        """What the process may use at most, in millionths; what is not named is not known and must not be used."""
        found = {}
        for uid, known in self._known.items():
            for limit, shares in known.ledger.items() if not known.went_back else ():
                own = shares.get(self._venue)
                if own is not None and own.fencing_token == self._token:
                    perhaps = (mine.get(limit, Share()).held for mine in self._unanswered.get(uid, ()))
                    found[uid, limit] = min(own.held, *perhaps, own.held)
        return found

    def kept(self, needs: Mapping[str, Needs]) -> Mapping[Key, int]:
        """What the process should go on using, in millionths: what is usable, without what is to be given back."""
        usable, kept = self.usable(), {}
        for uid, limit in usable:
            wish = self._wish(uid, limit, needs)
            kept[uid, limit] = min(usable[uid, limit], wish.held if wish is not None else 0)
        return kept

    def exchanges(self, needs: Mapping[str, Needs], in_use: Mapping[Key, int]) -> list[Exchange]:
        """What is to be written where something should change. `in_use` is what the process uses or may use from now
        on, in millionths: what is given back is not among it."""
        found = []
        for uid in sorted({*needs, *self.held_somewhere()}):
            known = self._known.get(uid)
            if known is None or known.problem or self._overtaken(known.ledger):
                continue
            before = {limit: shares[self._venue] for limit, shares in known.ledger.items() if self._venue in shares}
            mine = {}
            for limit in needs[uid].limits if uid in needs else ():
                wish = self._wish(uid, limit, needs)
                assert wish is not None
                if limit not in before and needs[uid].limits[limit].leaving:
                    continue
                old = before.get(limit, Share()).held
                # Down to what is in use at most; what it wants to be more, it is.
                least = min(old, in_use.get((uid, limit), 0))
                mine[limit] = Share(max(wish.held, least), wish.wanted, self._token)
            # One without an answer binds until the ledger moves: the same is then written again.
            if _is_news(before, mine) or known.went_back or self._unanswered.get(uid):
                payload = encode(with_share(known.ledger, self._venue, mine))
                found.append(Exchange(uid, known.revision, payload, mine))
        return found

    def sent(self, exchange: Exchange) -> None:
        """The exchange is on its way: it may happen as long as the ledger is known at the same revision."""
        self._unanswered.setdefault(exchange.uid, []).append(exchange.mine)

    def accepted(self, exchange: Exchange, revision: int) -> None:
        """The exchange has happened, so that no other one on the same revision can."""
        self._know(exchange.uid, Entry(revision, exchange.payload), went_back=False)

    def _wish(self, uid: str, limit: str, needs: Mapping[str, Needs]) -> Wish | None:
        need = needs[uid].limits.get(limit) if uid in needs else None
        if need is None:
            return None
        shares = self._known[uid].ledger.get(limit, {}) if uid in self._known else {}
        return decide(shares, self._venue, need, needs[uid].gateways)

    def _overtaken(self, ledger: Ledger) -> bool:
        """Whether a later process of this gateway has been here: what stands there is that one's."""
        own = (shares[self._venue] for shares in ledger.values() if self._venue in shares)
        return any(share.fencing_token > self._token for share in own)


def _is_news(before: Mapping[str, Share], mine: Mapping[str, Share]) -> bool:
    """Whether the difference is worth an exchange: what is wanted moves with every message."""
    if before.keys() != mine.keys():
        return True
    return any(
        old.held != new.held
        or old.fencing_token != new.fencing_token
        or bool(old.wanted) != bool(new.wanted)
        or abs(old.wanted - new.wanted) > old.wanted // 4
        for old, new in ((before[limit], mine[limit]) for limit in mine)
    )
