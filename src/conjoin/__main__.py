"""``python -m conjoin``: the command line."""

from conjoin.cli.main import main

if __name__ == "__main__":
    main()
