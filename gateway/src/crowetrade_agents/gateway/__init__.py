"""The only way to a venue: order path, journal, accounts, sessions."""
