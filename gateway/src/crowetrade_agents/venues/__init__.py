"""Where orders go: one small port, one adapter per kind of venue."""
