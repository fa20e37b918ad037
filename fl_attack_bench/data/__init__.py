"""Datasets, and how their training samples are dealt to devices."""
