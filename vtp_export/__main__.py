"""`python -m vtp_export`: the command line, where its script is not on the path."""

from vtp_export.cli import main

if __name__ == "__main__":
    main()
