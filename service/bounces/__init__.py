"""What other servers report of mail that had been taken: that it came back, waits, or is called spam."""
