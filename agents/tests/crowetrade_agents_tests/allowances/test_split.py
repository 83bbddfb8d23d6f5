"""What one gateway of some should have of a limit."""

from __future__ import annotations

import pytest

from crowetrade_agents.allowances.ledger import WHOLE, Share
from crowetrade_agents.allowances.split import Need, Wish, Yield, decide

OPEN_ORDERS = Need(used=400_000, count=10, yields=Yield.UNUSED)


@pytest.mark.parametrize(
    ("what", "own", "others", "need", "gateways", "expected"),
    [
        ("alone it takes everything", 0, [], Need(), 1, Wish(WHOLE, 0)),
        ("of five it takes its part", 0, [], Need(), 5, Wish(200_000, 0)),
        ("the last of five takes what is left", 0, [Share(900_000)], Need(), 5, Wish(100_000, 0)),
        ("somebody wants some: it takes what it needs", 0, [Share(0, 500_000)], Need(), 2, Wish(25_000, 0)),
        ("with demand it takes that and a quarter more", 0, [], Need(demanded=400_000), 2, Wish(500_000, 0)),
        ("what is not free it wants", 100_000, [Share(900_000)], Need(demanded=400_000), 2, Wish(100_000, 400_000)),
        ("it never wants more than the whole", 0, [Share(WHOLE)], Need(demanded=WHOLE), 2, Wish(0, WHOLE)),
        ("nobody wants what it does not need", 800_000, [Share(200_000)], Need(used=100), 2, Wish(800_000, 0)),
        ("somebody does: it gives that", 800_000, [Share(200_000, 50_000)], Need(used=100), 2, Wish(750_000, 0)),
        ("what is free comes first", 700_000, [Share(200_000, 150_000)], Need(used=100), 2, Wish(650_000, 0)),
        ("it keeps what it uses and a quarter", 800_000, [Share(200_000, WHOLE)], Need(400_000), 2, Wish(500_000, 0)),
        ("and a little without any use", 800_000, [Share(200_000, WHOLE)], Need(), 2, Wish(25_000, 0)),
        ("without headroom it gives nothing", 400_000, [Share(0, 500_000)], Need(400_000), 3, Wish(500_000, 0)),
        (
            "what it uses is not known: it gives nothing",
            800_000,
            [Share(200_000, WHOLE)],
            Need(known=False),
            2,
            Wish(800_000, 0),
        ),
        (
            "a loss keeps its headroom although another has less than its part",
            900_000,
            [Share(100_000, 300_000)],
            Need(800_000),
            2,
            Wish(900_000, 100_000),
        ),
        (
            "open orders give what is not used to one that has less than its part",
            500_000,
            [Share(500_000, 0), Share(0, 200_000)],
            OPEN_ORDERS,
            3,
            Wish(400_000, 100_000),
        ),
        (
            "messages give what is used, too, down to the own part",
            900_000,
            [Share(100_000, 600_000)],
            Need(900_000, yields=Yield.ALL),
            2,
            Wish(500_000, 500_000),
        ),
        (
            "it takes up to its part; the rest is left to others with less than theirs",
            300_000,
            [Share(100_000, 500_000), Share(400_000, 0)],
            Need(demanded=800_000),
            3,
            Wish(333_333, 666_667),
        ),
        ("one that leaves keeps what it uses", 500_000, [], Need(100_000, WHOLE, leaving=True), 1, Wish(100_000, 0)),
        ("and takes nothing more", 0, [], Need(100_000, leaving=True), 1, Wish(0, 0)),
        ("and gives nothing while its use is not known", 9, [], Need(known=False, leaving=True), 1, Wish(9, 0)),
        ("a count is held in whole things", 0, [], Need(count=3), 2, Wish(333_333, 0)),
        ("three gateways have one of three each", 0, [Share(666_666)], Need(count=3), 3, Wish(333_333, 0)),
        ("less than one thing is worth nothing", 0, [Share(700_000)], Need(count=3), 3, Wish(0, 0)),
        (
            "one thing more is wanted, and one to spare",
            0,
            [Share(WHOLE)],
            Need(demanded=50_000, count=20),
            5,
            Wish(0, 100_000),
        ),
    ],
)
def test_a_gateway_decides_for_itself(
    what: str, own: int, others: list[Share], need: Need, gateways: int, expected: Wish
) -> None:
    shares = {"me": Share(own)} | {f"v{place}": share for place, share in enumerate(others)}
    assert decide(shares, "me", need, gateways) == expected, what
