"""A charge on the account's position is paid by those who hold it, in full and once."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.books import CHARGES_KEPT, Books
from crowetrade_agents.gateway.charges import shares
from crowetrade_agents.gateway.status import position_message
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import EUR, VENUE, Scenario, cl_ord_id, kinds, terms

D = Decimal
ROLLOVER = port.ChargeKind.ROLLOVER


@pytest.mark.parametrize(
    ("amount", "quantity", "held", "expected"),
    [
        ("12", "3000", {"alpha": "3000"}, {"alpha": "12"}),
        ("12", "3000", {"alpha": "1000", "beta": "2000", "gone": "0"}, {"alpha": "4", "beta": "8"}),
        # The short one receives what the long one pays, and the account pays the difference.
        ("10", "1000", {"alpha": "3000", "beta": "-2000"}, {"alpha": "30", "beta": "-20"}),
        ("-6", "-2000", {"alpha": "1000", "beta": "-3000"}, {"alpha": "3", "beta": "-9"}),
        # What rounding leaves is the largest owner's.
        ("0.00000001", "3", {"alpha": "1", "beta": "2"}, {"alpha": "0", "beta": "0.00000001"}),
        # What the books do not explain.
        ("12", "4000", {"alpha": "1000", "beta": "2000"}, {"alpha": "3", "beta": "6", "": "3"}),
        ("12", "3000", {}, {"": "12"}),
        ("12", "0", {"alpha": "1000"}, {"": "12"}),
    ],
)
def test_shares(amount: str, quantity: str, held: Mapping[str, str], expected: Mapping[str, str]) -> None:
    found = shares(D(amount), D(quantity), {owner: D(own) for owner, own in held.items()}, "")
    assert found == {owner: D(part) for owner, part in expected.items()}


quantities = st.integers(-(10**6), 10**6).map(D)


@given(st.integers(-(10**12), 10**12), quantities, st.dictionaries(st.sampled_from("abcd"), quantities))
def test_the_parts_are_the_whole(amount: int, quantity: Decimal, held: Mapping[str, Decimal]) -> None:
    assert sum(shares(D(amount).scaleb(-8), quantity, held, "").values()) == D(amount).scaleb(-8)


def charge(name: str, quantity: int, amount: str, at_ns: int = 5) -> port.Charged:
    return port.Charged(name, ROLLOVER, EUR, D(quantity), D("1.1"), D(amount), at_ns)


def holding() -> Scenario:
    """Alpha holds 4,000, beta has sold 1,000."""
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "4000", "e1", "1.1")
    scenario.order(terms(1, strategy="beta", side=Side.SELL))
    sold = port.Executed(cl_ord_id(1, "beta"), "v", "e2", EUR, Side.SELL, D(1000), D("1.1"), D("0.5"), scenario.now)
    scenario.venue(sold)
    return scenario


def fees(books: Books) -> dict[str, Decimal]:
    return {owner: position.fees for (owner, _), position in books.positions.items()}


def test_a_charge_is_booked_once_to_its_owners_and_counts_in_their_profit() -> None:
    scenario = holding()
    done = scenario.venue(charge("c1", 3000, "0.9"))
    assert kinds(done) == ["position_charged", "position_charged"]
    assert fees(scenario.books) == {"alpha": D("1.2"), "beta": D("0.2")}
    assert position_message(scenario.state, ("alpha", EUR)).fees == "1.2"
    assert kinds(scenario.venue(charge("c1", 3000, "0.9"))) == []
    assert kinds(scenario.venue(charge("c2", 3000, "-0.9"))) == ["position_charged", "position_charged"]
    assert fees(scenario.books) == {"alpha": D(0), "beta": D("0.5")}
    assert scenario.position() == 4000


def test_a_charge_that_came_before_a_start_is_known_after_it() -> None:
    scenario = holding()
    scenario.venue(charge("c1", 3000, "0.9"))
    restarted = Scenario(books=Books.from_message(VENUE, scenario.books.to_message()))
    snapshot = port.VenueSnapshot(charges=(charge("c1", 3000, "0.9"), charge("c2", 3000, "0.9")))
    done = restarted.do(commands.VenueConnected(snapshot))
    assert kinds(done).count("position_charged") == 2
    assert fees(restarted.books) == {"alpha": D("2.4"), "beta": D("-0.1")}


def test_what_the_books_do_not_explain_is_booked_to_suspense() -> None:
    scenario = holding()
    scenario.venue(charge("c1", 6000, "6"))
    assert fees(scenario.books) == {"alpha": D(4), "beta": D("-0.5"), "": D(3)}


def test_what_is_remembered_of_charges_is_bounded() -> None:
    scenario = holding()
    for number in range(CHARGES_KEPT + 5):
        scenario.venue(charge(f"c{number}", 3000, "0.3", at_ns=number + 1))
    assert next(iter(scenario.books.charge_ids)) == "c5"
    assert len(scenario.books.to_message().charge_ids) == CHARGES_KEPT


def test_a_logon_that_tells_more_charges_than_are_remembered_books_none_of_them_twice() -> None:
    """A position that nobody trades for weeks: the venue tells all charges since the last execution."""
    scenario = holding()
    charges = tuple(charge(f"c{number}", 3000, "0.3", at_ns=10 + number) for number in range(2 * CHARGES_KEPT))
    for item in charges:
        scenario.venue(item)
    paid = fees(scenario.books)
    restarted = Scenario(books=Books.from_message(VENUE, scenario.books.to_message()))
    later = charge("later", 3000, "0.3", at_ns=10 + 2 * CHARGES_KEPT)

    for gateway in (scenario, restarted, Scenario(books=scenario.folded())):
        done = gateway.do(commands.VenueConnected(port.VenueSnapshot(charges=charges)))
        assert "position_charged" not in kinds(done)
        assert fees(gateway.books) == paid
        assert kinds(gateway.venue(later)).count("position_charged") == 2


def test_charges_of_one_moment_are_all_booked_however_many() -> None:
    scenario = holding()
    scenario.venue(charge("before", 3000, "0.3", at_ns=4))
    charges = [charge(f"c{number}", 3000, "0.3") for number in range(CHARGES_KEPT + 5)]
    for item in charges:
        assert kinds(scenario.venue(item)) == ["position_charged", "position_charged"]

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot(charges=tuple(charges))))
    assert "position_charged" not in kinds(done)


def test_a_snapshot_of_a_version_that_kept_no_times_of_charges_is_read() -> None:
    scenario = holding()
    scenario.venue(charge("c1", 3000, "0.9"))
    message = scenario.books.to_message()
    del message.charge_unix_ns[:]
    books = Books.from_message(VENUE, message)

    assert books.is_charged("c1", 5)
    assert not books.is_charged("c2", 5)
