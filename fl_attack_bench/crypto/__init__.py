"""Rings and fields, sharing schemes, homomorphic and authenticated encryption: what secure aggregations are made of."""
