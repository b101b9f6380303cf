"""What staff see in a browser: parse, one use case, a template. What happens and when is in `scheduler`."""
