"""What happens and when: planning, follow-up use cases, messages, sending and the clock."""
