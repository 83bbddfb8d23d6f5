"""The gateway's journal: pure hash chain, and where records are kept."""
