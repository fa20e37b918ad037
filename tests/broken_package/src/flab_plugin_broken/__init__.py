"""What a package that was written for another version looks like: its import fails."""

raise ImportError("it wants version 0.0.1 of something")
