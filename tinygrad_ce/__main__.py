"""`python -m tinygrad_ce` is the command `tinygrad-ce`."""

from tinygrad_ce.cli import main

if __name__ == "__main__":
    main()
