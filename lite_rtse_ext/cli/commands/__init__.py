"""The commands: the file ``NAME.py`` has the function ``NAME``, which is ``lite-rtse NAME``."""
