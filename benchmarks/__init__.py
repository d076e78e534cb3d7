"""The instrument: one file a question, each run as ``python -m benchmarks.<question>`` from the repository's root."""
