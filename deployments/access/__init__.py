"""Who may use a service, and what for: API keys, their caps and their rates."""
