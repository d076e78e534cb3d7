"""Extracts speech and noise from Debian packages."""
