"""An e-mail: what a request may say, the record kept of it, and its life as pure functions."""
