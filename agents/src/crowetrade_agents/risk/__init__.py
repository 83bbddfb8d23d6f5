"""What may leave: the gate decides, nothing here does I/O."""
