"""What a backtest leaves behind, and how it is read: the result, its figures, its report, and comparisons."""
