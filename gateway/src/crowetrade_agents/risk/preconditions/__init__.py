"""What must be true before any limit is judged, one per module: each returns a Refusal or None."""
