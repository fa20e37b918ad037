"""The protocols and their honest parties."""
