"""What cannot be undone: the transparency log, its receipts, and the check that needs no trust."""
