"""What operator and agents share: resource models, names, conditions, reasons, the files in pods. No I/O."""
