"""``python -m benchmarks``: all of them, one after the other."""

from benchmarks import lateness, rates

for benchmark in (lateness, rates):
    benchmark.main([])
    print()
