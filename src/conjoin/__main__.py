"""``python -m conjoin``: the command line."""

from conjoin.app.cli import main

if __name__ == "__main__":
    main()
