"""One check a file: each takes the request and the facts and returns a Refusal or None."""
