"""The page of a run: what `crowetrade run --web` serves on loopback."""
