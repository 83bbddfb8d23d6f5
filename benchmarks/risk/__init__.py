"""Limits and kill orders."""
