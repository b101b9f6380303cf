"""The patients' side: her page over HTTP, and in a browser."""
