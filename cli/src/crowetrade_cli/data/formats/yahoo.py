"""Yahoo-style CSV: a header of Date (or Datetime), Open, High, Low, Close, Volume, with or without Adj Close.

Source: the columns of the history download of finance.yahoo.com, and of yfinance's to_csv. A date alone is the trading
day; the bar's time is that day's midnight in UTC, or in the zone of --tz, and the bar ends a day later: no market
closes after that. Times of day have their offset from UTC, or need --tz. `close` is the column Close, as traded;
docs/data.md says how to take the adjusted one. Rows whose prices are "null" cannot be read.
"""

from __future__ import annotations

from crowetrade_cli.data.formats.columns import Number, Time
from crowetrade_cli.data.formats.csv_format import CsvFormat
from crowetrade_cli.data.formats.format import CsvSource

_NAMES = ("open", "high", "low", "close", "volume")
_EXTRA: tuple[tuple[str, ...], ...] = (
    (),
    ("adj_close",),
    ("dividends", "stock_splits"),
    ("adj_close", "dividends", "stock_splits"),
)

FORMATS = (
    CsvSource(
        "yahoo",
        "Yahoo-style CSV (bars)",
        tuple(
            CsvFormat(
                "bars",
                (time, *_NAMES, *extra),
                {"ts_ns": Time((time,), ("iso",)), **{name: Number(name) for name in _NAMES}},
                any_order=True,
            )
            for time in ("date", "datetime")
            for extra in _EXTRA
        ),
    ),
)
