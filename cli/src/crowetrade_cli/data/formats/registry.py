"""All formats, in the order in which they are listed."""

from __future__ import annotations

from collections.abc import Sequence

from crowetrade_cli.data.formats import (
    binance,
    coinbase,
    dukascopy,
    generic,
    histdata,
    kraken,
    lean,
    lobster,
    metatrader,
    recorded,
    yahoo,
)
from crowetrade_cli.data.formats.format import Format

FORMATS: Sequence[Format] = (
    *recorded.FORMATS,
    *binance.FORMATS,
    *kraken.FORMATS,
    *coinbase.FORMATS,
    *dukascopy.FORMATS,
    *histdata.FORMATS,
    *yahoo.FORMATS,
    *metatrader.FORMATS,
    *lean.FORMATS,
    *lobster.FORMATS,
    *generic.FORMATS,
)
