"""One pure builder a child object: settings and resource in, object out."""
