"""The published command line of GFNet-Dynn; see `python main_dynn.py --help`."""

from gfnet_dynn.cli.main_dynn import main

if __name__ == "__main__":
    main()
