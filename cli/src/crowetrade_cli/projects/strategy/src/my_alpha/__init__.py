"""A model for CroweTrade."""
