"""`python -m hub` is `hub-server`."""

from hub.cli import main

main()
