"""`python -m training.cli` is `vernissage`."""

from training.cli import main

main()
