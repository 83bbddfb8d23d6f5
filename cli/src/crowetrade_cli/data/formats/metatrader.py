"""MetaTrader: exports of MetaTrader 5 (tabs, <DATE> <TIME> headers) and of MetaTrader 4 (commas, no header).

Source: MetaTrader 5 Help, "Symbols" (export of bars and ticks), and MetaTrader 4 Help, "History Center". Times are
those of the broker's server, which the file does not name: --tz says which. Most brokers of FX keep a day that ends at
17:00 in New York; when they change with Europe, that is Europe/Athens. A bar's time is its open time. Its prices are
bids. The volume is the number of ticks (TICKVOL): what was traded (VOL) is 0 for most instruments.
Of ticks, a side that is empty did not change: it is that of the row before. Rows before both sides are known cannot be
read.
"""

from __future__ import annotations

from collections.abc import Mapping

from crowetrade_cli.data.formats.columns import Column, Number, Time
from crowetrade_cli.data.formats.csv_format import NUMBER, CsvFormat
from crowetrade_cli.data.formats.format import CsvSource

_DATE = r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}"
_INTRADAY = Time(("date", "time"), ("%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S.%f"))
_PRICES = {name: Number(name) for name in ("open", "high", "low", "close")}
_MT5_BARS = ("open", "high", "low", "close", "tickvol", "vol", "spread")
_TICK_COLUMNS: Mapping[str, Column] = {
    "ts_ns": _INTRADAY,
    "bid_px": Number("bid", carried=True),
    "ask_px": Number("ask", carried=True),
}

FORMATS = (
    CsvSource(
        "metatrader-bars",
        "MetaTrader 5 or 4 bars (bid)",
        (
            CsvFormat(
                "bars", ("date", "time", *_MT5_BARS), {"ts_ns": _INTRADAY, **_PRICES, "volume": Number("tickvol")}
            ),
            CsvFormat(
                "bars",
                ("date", *_MT5_BARS),
                {"ts_ns": Time(("date",), ("%Y.%m.%d",)), **_PRICES, "volume": Number("tickvol")},
            ),
            CsvFormat(
                "bars",
                ("date", "time", "open", "high", "low", "close", "volume"),
                {"ts_ns": _INTRADAY, **_PRICES, "volume": Number("volume")},
                (_DATE, _CLOCK, *[NUMBER] * 5),
                has_header=False,
                file_name=r"^(?!DAT_MT_)",
            ),
        ),
    ),
    CsvSource(
        "metatrader-ticks",
        "MetaTrader 5 ticks (quotes)",
        (
            CsvFormat("quotes", ("date", "time", "bid", "ask", "last", "volume", "flags"), _TICK_COLUMNS),
            CsvFormat("quotes", ("date", "time", "bid", "ask", "last", "volume"), _TICK_COLUMNS),
        ),
    ),
)
