"""From a record to an accepted message: its bytes, the conversation with a relay, and the relay's health."""
