"""Market data of other people's files, checked and turned into what a simulated venue replays."""
