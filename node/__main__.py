"""`python -m worldjockey.node` is `wj`."""

from .cli import main

main()
