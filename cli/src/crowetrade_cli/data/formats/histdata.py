"""HistData.com: Generic ASCII bars of one minute and ticks, and the bars for MetaTrader.

Source: histdata.com, "Data files: detailed specification". Times are Eastern Standard Time without daylight saving
time, all year UTC-5. A bar's time is its begin. Prices of bars are bids. Volumes are always 0, so they are unknown.
The bars for MetaTrader look like MetaTrader's own; the name of the file, DAT_MT_..., tells them apart.
"""

from __future__ import annotations

from crowetrade_cli.data.formats.columns import Constant, Number, Time
from crowetrade_cli.data.formats.csv_format import NUMBER, CsvFormat
from crowetrade_cli.data.formats.format import CsvSource

ZONE = "Etc/GMT+5"
"""UTC-5: the tz database counts the other way."""
_MINUTE_NS = 60_000_000_000
_PRICES = {name: Number(name) for name in ("open", "high", "low", "close")}
_VOLUME = {"volume": Number("volume", zero_is_unknown=True)}

FORMATS = (
    CsvSource(
        "histdata-m1",
        "HistData one-minute bars, Generic ASCII or MetaTrader (bid)",
        (
            CsvFormat(
                "bars",
                ("time", "open", "high", "low", "close", "volume"),
                {
                    "ts_ns": Time(("time",), ("%Y%m%d %H%M%S",), zone=ZONE),
                    **_PRICES,
                    **_VOLUME,
                    "interval_ns": Constant(_MINUTE_NS, "time"),
                },
                (r"[0-9]{8} [0-9]{6}", *[NUMBER] * 5),
                has_header=False,
            ),
            CsvFormat(
                "bars",
                ("date", "time", "open", "high", "low", "close", "volume"),
                {
                    "ts_ns": Time(("date", "time"), ("%Y.%m.%d %H:%M",), zone=ZONE),
                    **_PRICES,
                    **_VOLUME,
                    "interval_ns": Constant(_MINUTE_NS, "time"),
                },
                (r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}", r"[0-9]{2}:[0-9]{2}", *[NUMBER] * 5),
                has_header=False,
                file_name=r"^DAT_MT_",
            ),
        ),
    ),
    CsvSource(
        "histdata-ticks",
        "HistData ticks, Generic ASCII (quotes)",
        (
            CsvFormat(
                "quotes",
                ("time", "bid", "ask", "volume"),
                {
                    "ts_ns": Time(("time",), ("%Y%m%d %H%M%S%f",), zone=ZONE),
                    "bid_px": Number("bid"),
                    "ask_px": Number("ask"),
                },
                (r"[0-9]{8} [0-9]{9}", *[NUMBER] * 3),
                has_header=False,
            ),
        ),
    ),
)
