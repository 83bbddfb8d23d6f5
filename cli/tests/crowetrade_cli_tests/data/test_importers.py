"""Every importer on a few rows in the documented form, against values written by hand, as the command writes them and
as the simulated venue reads them back."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path

import pytest

from crowetrade_cli.data.formats.registry import FORMATS

from ..conftest import Run
from .values import ASSUMED, ns, replayed, rows_of

ROOT = Path(__file__).parents[4]
MINUTE, DAY = 60_000_000_000, 86_400_000_000_000
ADJUSTED = 'time=Date,close="Adj Close",volume=Volume'
Row = dict[str, object]


@dataclass(frozen=True)
class Case:
    """`files` by path; the first is the one that is named. `rows` are the recording's. `recognised`: without --from."""

    format: str
    files: dict[str, bytes]
    rows: list[Row]
    options: tuple[str, ...] = ()
    recognised: bool = True


def zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def bar(time: str, prices: str, volume: str = "", interval_ns: int = 0) -> Row:
    row: Row = {"ts_ns": ns(time), **dict(zip(("open", "high", "low", "close"), prices.split(), strict=True))}
    row |= {"volume": volume} if volume else {}
    return row | ({"interval_ns": interval_ns} if interval_ns else {})


def quote(time: str, bid: str, ask: str, sizes: str = "", exchange: str = "") -> Row:
    row: Row = {"ts_ns": ns(time), "bid_px": bid, "ask_px": ask}
    row |= dict(zip(("bid_sz", "ask_sz"), sizes.split(), strict=True)) if sizes else {}
    return row | ({"exch_ts_ns": ns(exchange)} if exchange else {})


def trade(time: str, price: str, size: str, side: str = "", trade_id: str = "") -> Row:
    row: Row = {"ts_ns": ns(time), "price": price, "size": size}
    return row | ({"side": side} if side else {}) | ({"trade_id": trade_id} if trade_id else {})


def level(time: str, update: str, side: str, price: str, size: str, ids: tuple[int, ...]) -> Row:
    row: Row = {"ts_ns": ns(time), "update": update, "side": side, "px": price, "sz": size}
    return row | dict(zip(("first_id", "last_id", "prev_last_id"), ids, strict=False))


# Times: 1704067200 is 2024-01-01T00:00:00Z, 1735689600 is 2025-01-01T00:00:00Z.
CASES: dict[str, Case] = {
    "Binance klines: zip, no header, milliseconds": Case(
        "binance-klines",
        {
            "BTCUSDT-1m-2024-01.zip": zipped(
                "BTCUSDT-1m-2024-01.csv",
                "1704067200000,42283.58000000,42298.62000000,42261.02000000,42298.61000000,35.92724000,1704067259999,"
                "1519032.59,1327,23.18,980268.84,0\n"
                "1704067260000,42298.62,42320.00,42298.61,42320.00,21.16779000,1704067319999,895580.1,1348,13.6,577210.8,0\n",
            )
        },
        [
            bar(
                "2024-01-01T00:00:00",
                "42283.58000000 42298.62000000 42261.02000000 42298.61000000",
                "35.92724000",
                MINUTE,
            ),
            bar("2024-01-01T00:01:00", "42298.62 42320.00 42298.61 42320.00", "21.16779000", MINUTE),
        ],
    ),
    "Binance klines: header, milliseconds until 2024 and microseconds from 2025 on, months of unequal length": Case(
        "binance-klines",
        {
            "BTCUSDT-1mo.csv": (
                b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
                b"taker_buy_quote_volume,ignore\n"
                b"1733011200000,1,2,1,2,5,1735689599999,1,1,1,1,0\n"
                b"1735689600000000,2,3,2,3,6,1738367999999999,1,1,1,1,0\n"
                b"1738368000000000,3,4,3,4,7,1740787199999999,1,1,1,1,0\n"
            )
        },
        [
            bar("2024-12-01T00:00:00", "1 2 1 2", "5", 31 * DAY),
            bar("2025-01-01T00:00:00", "2 3 2 3", "6", 31 * DAY),
            bar("2025-02-01T00:00:00", "3 4 3 4", "7", 28 * DAY),
        ],
    ),
    "Binance aggTrades: futures, header": Case(
        "binance-aggtrades",
        {
            "a.csv": (
                b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
                b"26129,0.01633102,4.70443515,27781,27781,1704067200123,true\n"
                b"26130,0.016331,1,27782,27783,1704067200124,false\n"
            )
        },
        [
            trade("2024-01-01T00:00:00.123", "0.01633102", "4.70443515", "sell", "26129"),
            trade("2024-01-01T00:00:00.124", "0.016331", "1", "buy", "26130"),
        ],
    ),
    "Binance aggTrades: spot, no header, microseconds": Case(
        "binance-aggtrades",
        {"a.csv": b"0,0.20000000,50.00000000,0,0,1735689600010866,False,True\n"},
        [trade("2025-01-01T00:00:00.010866", "0.20000000", "50.00000000", "buy", "0")],
    ),
    "Binance trades: futures and spot have other numbers of columns": Case(
        "binance-trades",
        {"t.csv.gz": gzip.compress(b"51175358,17.80180000,5.69000000,101.29224200,1704067200000,True,True\n")},
        [trade("2024-01-01T00:00:00", "17.80180000", "5.69000000", "sell", "51175358")],
    ),
    "Binance bookTicker": Case(
        "binance-bookticker",
        {
            "b.csv": (
                b"update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
                b"3062820799546,26.67000000,172.00000000,26.67100000,582.00000000,1704067200098,1704067200104\n"
            )
        },
        [
            quote(
                "2024-01-01T00:00:00.104",
                "26.67000000",
                "26.67100000",
                "172.00000000 582.00000000",
                "2024-01-01T00:00:00.098",
            )
        ],
    ),
    "Binance T_DEPTH": Case(
        "binance-depth",
        {
            "BTCUSDT_T_DEPTH_2024-01-01_depth_update.csv": (
                b"symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu\n"
                b"BTCUSDT,1704067200000,10,10,b,snap,20472.70,1.5,-1\n"
                b"BTCUSDT,1704067200000,10,10,a,snap,20472.80,0.500,-1\n"
                b"BTCUSDT,1704067200050,10,14,a,set,20472.90,0.000,10\n"
                b"BTCUSDT,1704067200050,10,14,b,delete,20472.70,3.000,10\n"
            )
        },
        [
            level("2024-01-01T00:00:00", "snapshot", "bid", "20472.70", "1.5", (10, 10, -1)),
            level("2024-01-01T00:00:00", "snapshot", "ask", "20472.80", "0.500", (10, 10, -1)),
            level("2024-01-01T00:00:00.05", "diff", "ask", "20472.90", "0.000", (10, 14, 10)),
            level("2024-01-01T00:00:00.05", "diff", "bid", "20472.70", "0", (10, 14, 10)),
        ],
    ),
    "Kraken OHLCVT": Case(
        "kraken-ohlcvt",
        {
            "XBTUSD_60.csv": b"1704067200,2502.5,2510.0,2490.0,2500.0,36.11137,21\n"
            b"1704070800,2500.0,2500.0,2500.0,2500.0,1,1\n"
        },
        [
            bar("2024-01-01T00:00:00", "2502.5 2510.0 2490.0 2500.0", "36.11137"),
            bar("2024-01-01T01:00:00", "2500.0 2500.0 2500.0 2500.0", "1"),
        ],
    ),
    "Kraken trades: seconds with decimals": Case(
        "kraken-trades",
        {"XBTUSD.csv": b"1704067203.7998,8552.90000,0.03190270\n1704067204,8552.9,0.5\n"},
        [
            trade("2024-01-01T00:00:03.7998", "8552.90000", "0.03190270"),
            trade("2024-01-01T00:00:04", "8552.9", "0.5"),
        ],
    ),
    "Coinbase: JSON of the Exchange API is newest first, its numbers are no floats": Case(
        "coinbase-candles-json",
        {"c.json": b"[[1704067260, 0.1, 9.30, 0.30, 0.100000000000000055, 5], [1704067200, 1, 4, 2, 3, 6.5]]"},
        [
            bar("2024-01-01T00:00:00", "2 4 1 3", "6.5"),
            bar("2024-01-01T00:01:00", "0.30 9.30 0.1 0.100000000000000055", "5"),
        ],
        ("--sort",),
    ),
    "Coinbase: JSON of the Advanced Trade API": Case(
        "coinbase-candles-json",
        {
            "c.json": json.dumps(
                {
                    "candles": [
                        {"start": "1704067200", "low": "1", "high": "4.0", "open": "2", "close": "3", "volume": "6"}
                    ]
                }
            ).encode()
        },
        [bar("2024-01-01T00:00:00", "2 4.0 1 3", "6")],
    ),
    "Coinbase: CSV, the low comes first": Case(
        "coinbase-candles",
        {"c.csv": b"time,low,high,open,close,volume\n1704067200,1,4,2,3,6\n"},
        [bar("2024-01-01T00:00:00", "2 4 1 3", "6")],
    ),
    "Coinbase: CSV without header could be anything": Case(
        "coinbase-candles",
        {"c.csv": b"1704067200,1,4,2,3,6\n"},
        [bar("2024-01-01T00:00:00", "2 4 1 3", "6")],
        recognised=False,
    ),
    "Dukascopy bars: GMT": Case(
        "dukascopy-bars",
        {"d.csv": b"Gmt time,Open,High,Low,Close,Volume\n31.01.2024 23:00:00.000,1.10,1.30,1.00,1.20,179.4\n"},
        [bar("2024-01-31T23:00:00", "1.10 1.30 1.00 1.20", "179.4")],
    ),
    "Dukascopy bars: local time with its offset": Case(
        "dukascopy-bars",
        {"d.csv": b"Local time,Open,High,Low,Close,Volume\n01.02.2024 00:00:00.000 GMT+0100,1.10,1.30,1.00,1.20,5\n"},
        [bar("2024-01-31T23:00:00", "1.10 1.30 1.00 1.20", "5")],
    ),
    "Dukascopy bars: JForex in EET, summer": Case(
        "dukascopy-bars",
        {"d.csv": b"Time (EET),Open,High,Low,Close,Volume \n2024.07.01 00:00:00,1.1,1.3,1.0,1.2,5\n"},
        [bar("2024-06-30T21:00:00", "1.1 1.3 1.0 1.2", "5")],
    ),
    "Dukascopy bars: dukascopy-node, without volumes": Case(
        "dukascopy-bars",
        {"eurusd-m1-bid-2024-01-01.csv": b"timestamp,open,high,low,close\n1704067200000,1.10,1.30,1.00,1.20\n"},
        [bar("2024-01-01T00:00:00", "1.10 1.30 1.00 1.20")],
    ),
    "Dukascopy ticks: dukascopy-node": Case(
        "dukascopy-ticks",
        {"t.csv": b"timestamp,askPrice,bidPrice\n1704067200051,1.20,1.10\n"},
        [quote("2024-01-01T00:00:00.051", "1.10", "1.20")],
    ),
    "Dukascopy ticks: sizes in millions": Case(
        "dukascopy-ticks",
        {"d.csv": b"Gmt time,Ask,Bid,AskVolume,BidVolume\n15.01.2024 10:30:00.123,1.08503,1.08500,1.5,0.75\n"},
        [quote("2024-01-15T10:30:00.123", "1.08500", "1.08503", "750000 1500000")],
        ("--multiply-sizes", "1000000"),
    ),
    "Dukascopy .bi5: the month in the path begins with 00": Case(
        "dukascopy-bi5",
        {
            "EURUSD/2020/00/03/14h_ticks.bi5": lzma.compress(
                struct.pack(">IIIff", 51, 111870, 111868, 0.75, 1.1)
                + struct.pack(">IIIff", 3_599_999, 111871, 95, 1, 2),
                format=lzma.FORMAT_ALONE,
            )
        },
        [
            quote("2020-01-03T14:00:00.051", "1.11868", "1.11870", "1.1 0.75"),
            quote("2020-01-03T14:59:59.999", "0.00095", "1.11871", "2 1"),
        ],
        ("--price-digits", "5"),
    ),
    "HistData one minute: EST, also in summer": Case(
        "histdata-m1",
        {
            "DAT_ASCII_EURUSD_M1_202402.zip": zipped(
                "DAT_ASCII_EURUSD_M1_2024.csv",
                "20240201 000000;1.306600;1.306610;1.306560;1.306570;0\n20240701 000000;1.3;1.4;1.2;1.35;0\n",
            )
        },
        [
            bar("2024-02-01T05:00:00", "1.306600 1.306610 1.306560 1.306570", interval_ns=MINUTE),
            bar("2024-07-01T05:00:00", "1.3 1.4 1.2 1.35", interval_ns=MINUTE),
        ],
    ),
    "HistData one minute for MetaTrader: told by its name": Case(
        "histdata-m1",
        {"DAT_MT_EURUSD_M1_2024.csv": b"2024.02.01,00:01,1.306570,1.306570,1.306470,1.306560,0\n"},
        [bar("2024-02-01T05:01:00", "1.306570 1.306570 1.306470 1.306560", interval_ns=MINUTE)],
    ),
    "HistData ticks: milliseconds without a point": Case(
        "histdata-ticks",
        {"DAT_ASCII_EURUSD_T_202402.csv": b"20240201 000003660,1.306600,1.306770,0\n20240201 235959999,1.3,1.4,0\n"},
        [
            quote("2024-02-01T05:00:03.660", "1.306600", "1.306770"),
            quote("2024-02-02T04:59:59.999", "1.3", "1.4"),
        ],
    ),
    "Yahoo: days, the close as traded": Case(
        "yahoo",
        {
            "AAPL.csv": b"Date,Open,High,Low,Close,Adj Close,Volume\n"
            b"2024-01-02,187.15,188.44,183.89,185.64,184.53,82488700\n"
        },
        [bar("2024-01-02T00:00:00", "187.15 188.44 183.89 185.64", "82488700")],
    ),
    "Yahoo: the adjusted close, as docs/data.md says": Case(
        "csv",
        {
            "AAPL.csv": b"Date,Open,High,Low,Close,Adj Close,Volume\n"
            b"2024-01-02,187.15,188.44,183.89,185.64,184.53,82488700\n"
        },
        [{"ts_ns": ns("2024-01-02T00:00:00"), "close": "184.53", "volume": "82488700"}],
        ("--columns", ADJUSTED),
    ),
    "Yahoo: a download of yfinance, with a line of tickers": Case(
        "yahoo",
        {
            "AAPL.csv": b"Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n"
            b"2024-01-02,184.73,187.52,182.99,186.23,82488700\n"
        },
        [bar("2024-01-02T00:00:00", "186.23 187.52 182.99 184.73", "82488700")],
    ),
    "Yahoo: minutes with their offset, columns in another order": Case(
        "yahoo",
        {"AAPL.csv": b"Datetime,Close,High,Low,Open,Volume\n2024-01-02 09:30:00-05:00,2,4,1,3,10\n"},
        [bar("2024-01-02T14:30:00", "3 4 1 2", "10")],
    ),
    "MetaTrader 5 bars: tabs, UTF-16, the server's clock in summer": Case(
        "metatrader-bars",
        {
            "EURUSD_M1.csv": (
                "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n"
                "2024.07.01\t02:00:00\t1.1\t1.2\t1.0\t1.15\t10\t0\t7\r\n"
            ).encode("utf-16")
        },
        [bar("2024-06-30T23:00:00", "1.1 1.2 1.0 1.15", "10")],
        ("--tz", "Europe/Athens"),
    ),
    "MetaTrader 5 bars: days need no time zone": Case(
        "metatrader-bars",
        {
            "EURUSD_Daily.csv": b"<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
            b"2024.07.01\t1.1\t1.2\t1.0\t1.15\t10\t0\t7\n"
        },
        [bar("2024-07-01T00:00:00", "1.1 1.2 1.0 1.15", "10")],
    ),
    "MetaTrader 4 bars: commas, no header": Case(
        "metatrader-bars",
        {"EURUSD60.csv": b"2024.01.01,23:00,1.1,1.2,1.0,1.15,10\n"},
        [bar("2024-01-01T21:00:00", "1.1 1.2 1.0 1.15", "10")],
        ("--tz", "Europe/Athens"),
    ),
    "MetaTrader 5 ticks: an empty side did not change": Case(
        "metatrader-ticks",
        {
            "t.csv": b"<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n"
            b"2024.01.01\t00:00:00.036\t42250.77\t42273.01\t\t\t6\n"
            b"2024.01.01\t00:00:00.136\t\t42273.02\t\t\t4\n"
        },
        [
            quote("2024-01-01T00:00:00.036", "42250.77", "42273.01"),
            quote("2024-01-01T00:00:00.136", "42250.77", "42273.02"),
        ],
        ("--tz", "UTC"),
    ),
    "Lean equity minutes: 1/10000, New York in summer": Case(
        "lean-equity",
        {
            "equity/usa/minute/spy/20130701_trade.zip": zipped(
                "20130701_spy_minute_trade.csv", "34200000,1453700,1453900,1453600,1453850,4200\n"
            )
        },
        [bar("2013-07-01T13:30:00", "145.3700 145.3900 145.3600 145.3850", "4200", MINUTE)],
    ),
    "Lean equity days: hour and day files have their time written": Case(
        "lean-equity",
        {"equity/usa/daily/spy.zip": zipped("spy.csv", "20130107 00:00,1453700,1453900,1453600,1453850,4200\n")},
        [bar("2013-01-07T05:00:00", "145.3700 145.3900 145.3600 145.3850", "4200", DAY)],
    ),
    "Lean equity ticks: decimals of a millisecond": Case(
        "lean-equity",
        {
            "equity/usa/tick/bac/20131008_trade.zip": zipped(
                "20131008_bac_Trade_Tick.csv", "14400009.367,137450,100,D,1,0\n"
            )
        },
        [trade("2013-10-08T08:00:00.009367", "13.7450", "100")],
    ),
    "Lean forex minutes become quotes at the end of the bar, with unknown sizes": Case(
        "lean-forex",
        {
            "forex/oanda/minute/eurusd/20140501_quote.zip": zipped(
                "20140501_eurusd_minute_quote.csv",
                "60000,1.38,1.39,1.37,1.381,0,1.40,1.41,1.39,1.402,0\n",
            )
        },
        [quote("2014-05-01T00:02:00", "1.381", "1.402")],
    ),
    "Lean forex minutes of one side become bars": Case(
        "lean-forex",
        {
            "forex/oanda/minute/eurusd/20140501_quote.zip": zipped(
                "20140501_eurusd_minute_quote.csv",
                "60000,1.38,1.39,1.37,1.381,0,1.40,1.41,1.39,1.402,0\n",
            )
        },
        [bar("2014-05-01T00:01:00", "1.40 1.41 1.39 1.402", interval_ns=MINUTE)],
        ("--side", "ask"),
    ),
    "Lean forex ticks of FXCM: UTC-05 all year": Case(
        "lean-forex",
        {"forex/fxcm/tick/nzdusd/20140701_quote.zip": zipped("20140701_nzdusd_tick_quote.csv", "39,0.86004,0.86010\n")},
        [quote("2014-07-01T05:00:00.039", "0.86004", "0.86010")],
    ),
    "Lean crypto ticks: UTC": Case(
        "lean-crypto",
        {"crypto/gdax/tick/btcusd/20180404_quote.zip": zipped("20180404_btcusd_tick_quote.csv", "5,1.5,2,1.6,0\n")},
        [quote("2018-04-04T00:00:00.005", "1.5", "1.6", "2 0")],
    ),
    "LOBSTER quotes: the best level of the other file": Case(
        "lobster-quotes",
        {
            "AAPL_2012-06-21_34200000_57600000_message_1.csv": b"34200.004241176,1,16113575,18,5853300,1\n"
            b"34200.025551909,4,16113575,18,5853300,1\n",
            "AAPL_2012-06-21_34200000_57600000_orderbook_1.csv": b"5859400,200,5853300,18\n5859400,200,5853000,150\n",
        },
        [
            quote("2012-06-21T13:30:00.004241176", "585.3300", "585.9400", "18 200"),
            quote("2012-06-21T13:30:00.025551909", "585.3000", "585.9400", "150 200"),
        ],
        recognised=False,
    ),
    "LOBSTER trades: the taker is opposite to the order, other messages are none": Case(
        "lobster-trades",
        {
            "AAPL_2012-06-21_34200000_57600000_message_1.csv": b"34200.004241176,1,16113575,18,5853300,1\n"
            b"34200.025551909,4,16113575,18,5853300,1\n34201,5,0,7,5859400,-1\n",
        },
        [
            trade("2012-06-21T13:30:00.025551909", "585.3300", "18", "sell", "16113575"),
            trade("2012-06-21T13:30:01", "585.9400", "7", "buy", "0"),
        ],
        recognised=False,
    ),
    "LOBSTER depth: a snapshot per event, empty levels have no row": Case(
        "lobster-l2",
        {
            "AAPL_2012-06-21_34200000_57600000_message_2.csv": b"34200,1,1,18,5853300,1\n34201,1,2,3,5859500,-1\n",
            "AAPL_2012-06-21_34200000_57600000_orderbook_2.csv": (
                b"5859400,200,5853300,18,9999999999,0,-9999999999,0\n5859400,200,5853300,18,5859500,3,-9999999999,0\n"
            ),
        },
        [
            level("2012-06-21T13:30:00", "snapshot", "ask", "585.9400", "200", (1, 1)),
            level("2012-06-21T13:30:00", "snapshot", "bid", "585.3300", "18", (1, 1)),
            level("2012-06-21T13:30:01", "snapshot", "ask", "585.9400", "200", (2, 2)),
            level("2012-06-21T13:30:01", "snapshot", "bid", "585.3300", "18", (2, 2)),
            level("2012-06-21T13:30:01", "snapshot", "ask", "585.9500", "3", (2, 2)),
        ],
        recognised=False,
    ),
    "any CSV: columns named by hand": Case(
        "csv",
        {"x.csv": b"Ticker,When,Adj Close\nAAPL,02.01.2024 09.30,184.53\nMSFT,02.01.2024 09.30,370.10\n"},
        [
            {"ts_ns": ns("2024-01-02T14:30:00"), "close": "184.53", "symbol": "AAPL"},
            {"ts_ns": ns("2024-01-02T14:30:00"), "close": "370.10", "symbol": "MSFT"},
        ],
        (
            "--columns",
            'time=When,close="Adj Close",symbol=Ticker',
            "--time-format",
            "%d.%m.%Y %H.%M",
            "--tz",
            "America/New_York",
        ),
    ),
    "any CSV: lines before the header, spaces around values": Case(
        "csv",
        {"x.csv": b"https://example.org/data, 2024\n\n time , price\n2024-01-01T00:00:00Z, 1.50\n"},
        [{"ts_ns": ns("2024-01-01T00:00:00"), "price": "1.50"}],
        ("--columns", "time=time,price=price", "--skip-lines", "1"),
    ),
    "any CSV: a date and a time in two columns": Case(
        "csv",
        {"x.csv": b"Date,Time,Last\n20240102,0930,1.50\n"},
        [{"ts_ns": ns("2024-01-02T09:30:00"), "price": "1.50"}],
        ("--columns", "time=Date+Time,price=Last", "--time-format", "%Y%m%d %H%M", "--tz", "UTC"),
    ),
    "any CSV: columns by number, counted times, a unit": Case(
        "csv",
        {"x.csv": b"1.5;1704067200;2\n1.6;1704067201;0\n"},
        [trade("2024-01-01T00:00:00", "1.5", "2"), trade("2024-01-01T00:00:01", "1.6", "0")],
        ("--columns", "time=2,price=1,size=3", "--unit", "s"),
    ),
    "the venue's own columns": Case(
        "recorded-csv",
        {"q.csv": b"ts_ns,bid_px,ask_px,bid_sz,note\n1704067200000000001,1.10,1.20,,x\n"},
        [quote("2024-01-01T00:00:00.000000001", "1.10", "1.20")],
    ),
}


def write(folder: Path, case: Case) -> Path:
    """Writes the files of a case; the path of the first."""
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(case.files))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_rows_are_those_of_the_source(case: Case, run: Run, tmp_path: Path) -> None:
    path, out = write(tmp_path, case), tmp_path / "out.parquet"
    named = () if case.recognised else ("--from", case.format)
    ended = run("data", "convert", path, "--out", out, *named, *case.options)
    assert (ended.code, ended.err) == (0, "")
    assert rows_of(out) == case.rows


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if "update" not in case.rows[0] and "symbol" not in case.rows[0]]
)
def test_a_venue_replays_them(case: Case, run: Run, tmp_path: Path) -> None:
    """Quotes as they are; what was traded as a quote at its price, of bars the close at the bar's end."""
    path, out = write(tmp_path, case), tmp_path / "out.parquet"
    single_bar = "close" in case.rows[0] and len(case.rows) == 1 and "interval_ns" not in case.rows[0]
    length = ("--interval", "1m") if single_bar else ()
    run("data", "convert", path, "--out", out, "--from", case.format, *case.options, *length)
    books = replayed(out)
    assert len(books) == len(case.rows)
    for row, book in zip(case.rows, books, strict=True):
        bid, ask = (row["bid_px"], row["ask_px"]) if "bid_px" in row else (row.get("price") or row["close"],) * 2
        assert (book.bid_price, book.ask_price) == (Decimal(str(bid)), Decimal(str(ask)))
        if "bid_px" in row:
            sizes = tuple(Decimal(str(row.get(name, ASSUMED))) for name in ("bid_sz", "ask_sz"))
            assert (book.bid_quantity, book.ask_quantity) == sizes
        starts = row["ts_ns"]
        assert isinstance(starts, int)
        if "close" in row:
            assert book.event_ns > starts
        else:
            assert book.event_ns == starts


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_format_is_recognised_or_the_choice_is_named(case: Case, run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, case)
    options = [option for option in case.options if option != "--sort"]
    ended = run("data", "inspect", path, "--json", *options)
    if case.recognised:
        assert json.loads(ended.out)["format"] == case.format
    else:
        assert ended.code == 2
        assert case.format in ended.err


def test_every_format_has_a_case() -> None:
    assert {known.name for known in FORMATS} - {case.format for case in CASES.values()} == {"recorded"}


def test_every_format_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "data.md").read_text()
    assert f"`--columns {ADJUSTED}`" in guide
    assert [known.name for known in FORMATS if f"`{known.name}`" not in guide] == []


def _lean_days(path: Path, folder: Path, zone: tzinfo) -> list[Path]:
    """Lean's files of the ticks of a recording, one per local day, in the order of time."""
    days: dict[str, list[str]] = {}
    for row in rows_of(path):
        at_ns = row["ts_ns"]
        assert isinstance(at_ns, int)
        local = datetime.fromtimestamp(at_ns // 1_000_000_000, zone)
        millis = (local.hour * 3600 + local.minute * 60 + local.second) * 1000 + at_ns // 1_000_000 % 1000
        days.setdefault(f"{local:%Y%m%d}", []).append(f"{millis},{row['bid_px']},{row['ask_px']}\n")
    folder.mkdir(parents=True)
    paths = []
    for day, lines in days.items():
        paths.append(folder / f"{day}_quote.zip")
        paths[-1].write_bytes(zipped(f"{day}_x_tick_quote.csv", "".join(lines)))
    return paths


@pytest.mark.parametrize(
    ("name", "market", "zone"),
    [("EUR-USD.oanda", "oanda", UTC), ("NZD-USD.fxcm", "fxcm", timezone(timedelta(hours=-5)))],
)
def test_real_ticks_come_back_digit_by_digit(name: str, market: str, zone: tzinfo, run: Run, tmp_path: Path) -> None:
    """Needs ../shared/data; skips without it."""
    path = ROOT.parent / "shared" / "data" / "quotes" / f"{name}.parquet"
    if not path.is_file():
        pytest.skip("recorded data is not beside the repository (../shared/data): nothing to convert")
    files, out = _lean_days(path, tmp_path / "forex" / market / "tick" / "x", zone), tmp_path / "out.parquet"
    assert run("data", "convert", *files, "--out", out).code == 0
    assert rows_of(out) == rows_of(path)
