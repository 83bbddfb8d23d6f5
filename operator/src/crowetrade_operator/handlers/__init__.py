"""kopf decorators: an event becomes an entry in the cache and keys in the queue, nothing more."""
