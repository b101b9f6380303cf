"""Other senders, each as its own documentation shows it; they run in `.bench-venv`, and nothing of ours is in them."""
