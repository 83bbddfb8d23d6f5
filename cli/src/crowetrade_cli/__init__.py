"""The command line: `crowetrade`, and `kubectl crowetrade` as a plugin of kubectl."""
