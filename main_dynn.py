"""The published command line of GFNet-Dynn; see `python main_dynn.py --help`."""

import sys

try:
    from gfnet_dynn.cli.main_dynn import main
except ModuleNotFoundError as error:
    if error.name != "gfnet_dynn":
        raise
    sys.stderr.write(
        f"error: the package gfnet_dynn is not installed for {sys.executable}: install it with\n"
        "    pip install -e '.[train]'\n"
        "in this folder, or run `make demo` once and then\n"
        "    .venv/bin/python main_dynn.py\n"
    )
    sys.exit(2)

if __name__ == "__main__":
    main()
