"""``python -m benchmarks``: all of them, one after the other."""

from benchmarks import lateness, messages, rates

for benchmark in (lateness, messages, rates):
    benchmark.main([])
    print()
