"""Where orders go: one small port, one adapter a kind of venue."""
