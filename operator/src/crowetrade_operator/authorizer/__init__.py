"""`crowetrade-authorizer`: tells NATS what each identity may publish and subscribe to (auth callout)."""
