"""What happened, as it is told to others: one form of an event, and one watcher of the log for all who listen."""
