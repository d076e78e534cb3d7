"""The sources: the file ``NAME.py`` has the function ``NAME``, which is ``lite-rtse prepare NAME``."""
