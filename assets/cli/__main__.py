"""`python -m assets.cli`: the same as `toolwise`."""

from assets.cli import main

main()
