"""`python -m worldjockey.node` is `wj`."""

from .cli.app import main

main()
