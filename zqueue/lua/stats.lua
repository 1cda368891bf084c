-- stats: the size of everything, and how late the head is.
-- ARGV  1 now, us ("" = server time)
-- Answers now, scheduled, due, leased, dead, workers, due time of the first scheduled job, us ("" = none). Never fails.
-- O(log N).
local now = micros(ARGV[1])
local scheduled, due, earliest = 0, 0, math.huge
for _, set in ipairs(DUE) do
  scheduled = scheduled + call('ZCARD', set)
  due = due + call('ZCOUNT', set, '-inf', int(now))
  earliest = math.min(earliest, first(set))
end
local workers = call('ZCOUNT', WORKERS, int(now - 60000000), '+inf')
return {int(now), scheduled, due, call('ZCARD', LEASED), call('ZCARD', DEAD), workers,
  earliest < math.huge and int(math.max(earliest, 0)) or ''}
