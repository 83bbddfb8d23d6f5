"""One module a kind: observe, decide, apply, report; and the queue that drives them."""
