"""What each process of ours has: logs, health, an orderly stop and an exit that says why."""
