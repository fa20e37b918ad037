"""What somebody else's package brings: one defense, named by its class, and one attack, named by its module."""
