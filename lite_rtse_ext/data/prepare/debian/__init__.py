"""Speech and noise out of Debian's packages."""
