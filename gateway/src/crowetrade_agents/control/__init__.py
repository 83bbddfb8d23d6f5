"""Everything that may stop trading, joined in one place."""
