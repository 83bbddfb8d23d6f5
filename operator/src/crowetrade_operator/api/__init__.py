"""The API: models of the custom resources, names and conditions. No I/O."""
