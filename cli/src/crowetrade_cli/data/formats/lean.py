"""Lean (QuantConnect): zip files with one CSV file each, without header.

Source: the readme files of github.com/QuantConnect/Lean under Data/equity, Data/forex, Data/crypto. Ticks, seconds and
minutes have a file per day: times are milliseconds since midnight, and the date, resolution and kind (trade or quote)
are in the name, as 20131007_spy_minute_trade.csv. Hours and days are one file per symbol, and its folder says which.

- Midnight is that of the market's data: New York for US equities, UTC for OANDA and crypto, UTC-05 all year for FXCM.
  For another market write --tz.
- A bar's time is its begin.
- Prices of equities are whole numbers of 1/10000.
- Quote bars have a bar of bids and one of asks. They become quotes: the closing bid and ask, at the END of the bar,
  because they are not known before. With --side bid (or ask) they become bars of that side.
- Sizes of forex are 0 where they are unknown.
- Quote ticks of equities have one side only and cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

from crowetrade_cli.data.formats.columns import Column, Constant, Number, Time
from crowetrade_cli.data.formats.csv_format import csv_reader
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Reader
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.errors import Failed, WrongUse

_DAY_FILE = re.compile(
    r"^(?P<date>[0-9]{8})_(?P<symbol>.+?)_(?:(?P<a>tick|second|minute)_(?P<b>trade|quote)|(?P<c>trade|quote)_tick)\.csv$",
    re.IGNORECASE,
)
_LONG_NS = {"hour": 3_600_000_000_000, "daily": 86_400_000_000_000}
_SHORT_NS = {"tick": 0, "second": 1_000_000_000, "minute": 60_000_000_000}
_ZONES = {
    ("equity", "usa"): "America/New_York",
    ("forex", "oanda"): "UTC",
    ("cfd", "oanda"): "UTC",
    ("forex", "fxcm"): "Etc/GMT+5",
}
_TRADE_BAR = ("time", "open", "high", "low", "close", "volume")
_QUOTE_BAR = (
    "time",
    *(f"bid_{name}" for name in ("open", "high", "low", "close", "size")),
    *(f"ask_{name}" for name in ("open", "high", "low", "close", "size")),
)
_TRADE_TICKS = (
    ("time", "price", "size"),
    ("time", "price", "size", "exchange", "condition", "suspicious"),
)
_QUOTE_TICKS = (("time", "bid", "ask"), ("time", "bid", "bid_size", "ask", "ask_size"))


@dataclass(frozen=True, slots=True)
class _LeanFile:
    """What path and name say. `date` is empty in files of hours and days."""

    security: str
    market: str
    resolution: str
    date: str
    is_quote: bool

    @property
    def interval_ns(self) -> int:
        return {**_SHORT_NS, **_LONG_NS}[self.resolution]


def _parts(sample: Sample) -> tuple[str, ...]:
    return tuple(part.lower() for part in PurePath(sample.source.path.resolve()).parts)


def _security(sample: Sample) -> tuple[str, str]:
    """Kind of security and market, empty when the folders do not say."""
    parts = _parts(sample)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] in {"equity", "forex", "crypto", "cfd"} and len(parts) > place + 2:
            return parts[place], parts[place + 1]
    return "", ""


@dataclass(frozen=True, slots=True)
class _Lean:
    """`securities` are the folders that its files are in."""

    name: str
    title: str
    securities: tuple[str, ...]
    places: int = 0
    zero_is_unknown: bool = False
    default_zone: str = ""

    def recognises(self, sample: Sample) -> bool:
        security, _ = _security(sample)
        if security and security not in self.securities:
            return False
        if sample.header is not None:
            return False
        if _DAY_FILE.match(sample.source.name):
            return True
        return bool(security) and sample.source.path.suffix == ".zip" and bool(set(_parts(sample)) & set(_LONG_NS))

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        file = self._file(sample)
        if options.interval_ns:
            raise WrongUse("--interval is known from the format: leave it out")
        if options.side and not (file.is_quote and file.interval_ns):
            raise WrongUse("--side is for files with bars of bids and asks, this is none: leave it out")
        layout = _layout(file, sample)
        zone = _ZONES.get((file.security, file.market), self.default_zone)
        if not zone and not options.zone:
            raise WrongUse(
                f"{sample.source.shown} is of a market whose time zone is not known here: write it with --tz"
            )
        kind, columns = self._columns(file, layout, options.side, zone)
        return csv_reader(kind, columns, layout, sample, replace(options, side=""))

    def _file(self, sample: Sample) -> _LeanFile:
        security, market = _security(sample)
        security = security or self.securities[0]
        if match := _DAY_FILE.match(sample.source.name):
            resolution = (match["a"] or "tick").lower()
            is_quote = (match["b"] or match["c"]).lower() == "quote"
            return _LeanFile(security, market, resolution, match["date"], is_quote)
        resolution = next((part for part in _parts(sample) if part in _LONG_NS), "")
        if not resolution:
            raise WrongUse(
                f"{sample.source.shown} has neither the name of a Lean day file nor a folder hour or daily: keep the "
                "folders and names as Lean has them"
            )
        return _LeanFile(security, market, resolution, "", sample.width == len(_QUOTE_BAR))

    def _columns(
        self, file: _LeanFile, layout: tuple[str, ...], side: str, zone: str
    ) -> tuple[str, Mapping[str, Column]]:
        is_quote_bar = layout == _QUOTE_BAR and not side
        later_ns = file.interval_ns if is_quote_bar else 0
        if file.date:
            time = Time(("time",), unit="ms", zone=zone, date=file.date, later_ns=later_ns)
        else:
            time = Time(("time",), ("%Y%m%d %H:%M",), zone=zone, later_ns=later_ns)
        if is_quote_bar:
            return "quotes", {
                "ts_ns": time,
                "bid_px": self._price("bid_close"),
                "bid_sz": self._size("bid_size"),
                "ask_px": self._price("ask_close"),
                "ask_sz": self._size("ask_size"),
            }
        if file.interval_ns:
            prefix = f"{side}_" if side else ""
            columns: dict[str, Column] = {name: self._price(prefix + name) for name in ("open", "high", "low", "close")}
            if not side:
                columns["volume"] = self._size("volume")
            return "bars", {"ts_ns": time, **columns, "interval_ns": Constant(file.interval_ns, "time")}
        if file.is_quote:
            return "quotes", {
                "ts_ns": time,
                "bid_px": self._price("bid"),
                "bid_sz": self._size("bid_size"),
                "ask_px": self._price("ask"),
                "ask_sz": self._size("ask_size"),
            }
        return "trades", {"ts_ns": time, "price": self._price("price"), "size": self._size("size")}

    def _price(self, source: str) -> Number:
        return Number(source, self.places)

    def _size(self, source: str) -> Number:
        return Number(source, zero_is_unknown=self.zero_is_unknown)


def _layout(file: _LeanFile, sample: Sample) -> tuple[str, ...]:
    """The columns of the file, by what it is and how many it has."""
    if file.interval_ns:
        layouts: tuple[tuple[str, ...], ...] = (_QUOTE_BAR if file.is_quote else _TRADE_BAR,)
    else:
        layouts = _QUOTE_TICKS if file.is_quote else _TRADE_TICKS
    found = next((layout for layout in layouts if len(layout) == sample.width), None)
    if found is None:
        raise Failed(
            f"{sample.source.shown} has {sample.width} columns where Lean has "
            f"{' or '.join(str(len(layout)) for layout in layouts)}: such a file cannot be read"
        )
    return found


FORMATS = (
    _Lean("lean-equity", "Lean equities (trades, bars, quotes)", ("equity",), places=4),
    _Lean("lean-forex", "Lean forex and CFD (quotes, bars)", ("forex", "cfd"), zero_is_unknown=True),
    _Lean("lean-crypto", "Lean crypto (trades, quotes, bars)", ("crypto",), default_zone="UTC"),
)
