"""``python -m lite_rtse_ext.cli`` is ``lite-rtse``."""

from lite_rtse_ext.cli import main

main(prog_name="lite-rtse")
