"""Two-party arithmetic sharing with helpers: what outsourced protocols are made of, and what their views say."""
