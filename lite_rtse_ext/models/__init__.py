"""The networks, their parameters in files, and their graphs for other runtimes."""
