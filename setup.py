"""Packages that the declarative metadata cannot name: two top-level folders become sub-packages when installed."""

from setuptools import find_namespace_packages, find_packages, setup

METHODS = {"fl_attack_bench.attacks": "attacks", "fl_attack_bench.defenses": "defenses"}
# Suites and profiles are data without an __init__.py: packages only in the sense of importlib.resources.
DATA = {"fl_attack_bench.benchmarks": "benchmarks"}


def packages() -> list[str]:
    """Every importable folder, found rather than listed, so that a new one is never left out of the wheel."""
    found = find_packages(include=["fl_attack_bench", "fl_attack_bench.*"])
    for name, folder in METHODS.items():
        found += [name, *(f"{name}.{sub}" for sub in find_packages(folder))]
    for name, folder in DATA.items():
        found += [f"{name}.{sub}" for sub in find_namespace_packages(folder, include=["suites", "hardware", "papers"])]
    return found


setup(packages=packages(), package_dir=METHODS | DATA)
