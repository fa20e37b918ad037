"""fl-attack-bench: attack x defense x dataset benchmarks for federated learning."""

from pathlib import Path

__version__ = "0.1.0"

# In a source checkout `attacks/`, `defenses/` and `benchmarks/` stand beside this package; in a wheel, inside it.
_package = Path(__file__).resolve().parent
if not (_package / "attacks").is_dir():
    __path__.append(str(_package.parent))
