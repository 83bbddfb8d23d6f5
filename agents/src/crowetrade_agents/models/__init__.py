"""The built-in models and the registry that finds a model by name or by entry point."""
