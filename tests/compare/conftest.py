"""The boards of the score's tests lie in their folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "score"))
