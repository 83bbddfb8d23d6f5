"""Order entry: sessions of strategies with a gateway, over gRPC or within one process."""
