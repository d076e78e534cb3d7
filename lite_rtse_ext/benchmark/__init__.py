"""Measures speed on this machine: the harness of ``lite-rtse bench`` and of the repository's ``benchmarks``."""
