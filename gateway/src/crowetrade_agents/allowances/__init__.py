"""Shares of limits that count over several gateways: each gateway holds some and spends them locally."""
