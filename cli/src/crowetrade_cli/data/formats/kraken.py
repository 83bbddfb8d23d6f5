"""Kraken: the downloadable histories of OHLCVT bars and of trades, CSV without header.

Source: support.kraken.com, "Downloadable historical OHLCVT data" and "Downloadable historical market data (time and
sales)". Times are UTC, in seconds, those of trades with up to four decimals or more. A bar's time is the begin of its
interval; intervals without a trade have no bar. The name of a file of bars ends with its interval in minutes, as
XBTUSD_60.csv: that is not read, the interval shows in the distance of the bars.
"""

from __future__ import annotations

from collections.abc import Mapping

from crowetrade_cli.data.formats.columns import Column, Number, Time
from crowetrade_cli.data.formats.csv_format import NUMBER, WHOLE, CsvFormat
from crowetrade_cli.data.formats.format import CsvSource

_SECONDS = r"[0-9]{9,10}"
_BARS: Mapping[str, Column] = {
    "ts_ns": Time(("time",), unit="s"),
    "open": Number("open"),
    "high": Number("high"),
    "low": Number("low"),
    "close": Number("close"),
    "volume": Number("volume"),
}
_TRADES: Mapping[str, Column] = {"ts_ns": Time(("time",), unit="s"), "price": Number("price"), "size": Number("volume")}

FORMATS = (
    CsvSource(
        "kraken-ohlcvt",
        "Kraken OHLCVT (bars)",
        (
            CsvFormat(
                "bars",
                ("time", "open", "high", "low", "close", "volume", "trades"),
                _BARS,
                (_SECONDS, *[NUMBER] * 5, WHOLE),
                has_header=False,
            ),
        ),
    ),
    CsvSource(
        "kraken-trades",
        "Kraken time and sales (trades, without side)",
        (
            CsvFormat(
                "trades",
                ("time", "price", "volume"),
                _TRADES,
                (rf"{_SECONDS}(\.[0-9]+)?", NUMBER, NUMBER),
                has_header=False,
            ),
        ),
    ),
)
