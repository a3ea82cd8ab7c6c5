"""`python -m spoke` is `spoke-agent`."""

from spoke.cli import main

main(prog_name="spoke-agent")
