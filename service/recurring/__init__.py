"""E-mails that are sent again and again: schedules, their fires, and what keeps them in the queue."""
