"""Which of two stops is harder: one partial order of RiskLimit.spec.onBreach and KillSwitch.spec.mode. Pure.

A stop is at least as hard as another when it leaves a strategy nothing that the other takes away. Block and CloseOnly
are not comparable: Block lets resting orders open positions and refuses new ones that would close them, CloseOnly the
other way round. Admission says the same of spec.mode (charts/crowetrade/templates/killswitch-admission.yaml).
"""

from __future__ import annotations

from collections.abc import Iterable

_HASTE, _NEW, _NEW_CLOSING, _RESTING, _RESTING_CLOSING, _POSITION = range(6)
"""What may be taken away: more than one order each second; new orders that open positions, and that close them; such
orders that rest; and the position."""
_CANCELS = frozenset({_HASTE, _NEW, _NEW_CLOSING, _RESTING, _RESTING_CLOSING})
_TAKES: dict[str, frozenset[int]] = {
    "Alert": frozenset(),
    "Slow": frozenset({_HASTE}),
    "Block": frozenset({_HASTE, _NEW, _NEW_CLOSING}),
    "CloseOnly": frozenset({_NEW, _RESTING}),
    "Cancel": _CANCELS,
    "Flatten": _CANCELS | {_POSITION},
}
ACTIONS = tuple(_TAKES)
"""None stands before one that is milder."""


def at_least(one: str, other: str) -> bool:
    """Whether the one is as hard as the other, or harder. What is not known counts as Cancel."""
    return _taken(one) >= _taken(other)


def outlasts(latched: str, wanted: str) -> bool:
    """Whether a breach that is latched with the one goes on to be all that is done when the rule now says the other:
    what stopped orders at the moment of the breach stays as it was, what let them through gives way to what is harder.
    """
    return at_least(latched, wanted) or _NEW in _taken(latched)


def joined(actions: Iterable[str]) -> str:
    """The mildest that is at least as hard as each of them: of Block and CloseOnly it is Cancel."""
    taken = frozenset[int]().union(*map(_taken, actions))
    return next(name for name, takes in _TAKES.items() if takes >= taken)


def _taken(action: str) -> frozenset[int]:
    return _TAKES.get(action, _CANCELS)
