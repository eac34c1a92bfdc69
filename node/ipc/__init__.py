"""What processes share: mailbox, rings, supervision, status, logging."""
