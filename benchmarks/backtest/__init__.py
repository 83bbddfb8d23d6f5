"""What a backtest makes per second, alone and beside others; sweeps; and the demo until it trades."""
