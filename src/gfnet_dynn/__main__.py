"""`python -m gfnet_dynn`: the `gfnet-dynn` command of whichever Python runs it."""

from gfnet_dynn.cli.app import main

if __name__ == "__main__":
    main()
