"""Gradient inversion, batched over victims and restarts: per-sample gradients, optimisers, matching objectives."""
