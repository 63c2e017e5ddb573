"""Load as many displays make it: an open-loop generator, and what it found."""
