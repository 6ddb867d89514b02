"""One small function per JAX primitive."""
