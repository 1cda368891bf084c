"""Measurements of zqueue, each a script that anybody can run again. See `README.md` beside this file."""
