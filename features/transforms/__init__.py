"""Pure Ibis expressions, one family a file, and the registry of what they compute."""
