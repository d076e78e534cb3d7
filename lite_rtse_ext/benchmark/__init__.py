"""How fast it is here: the harness of ``lite-rtse bench``, which the repository's ``benchmarks`` use as well."""
