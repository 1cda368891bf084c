-- stats: the size of everything, and how late the head is.
-- ARGV  1 now, us ("" = server time)
-- Answers now, scheduled, due, parked, leased, done, dead, "1" = paused, workers, due time of the first job of a lane,
-- us ("" = none). Never fails. O(log N).
local now = micros(ARGV[1])
local parked = call('ZCARD', PARKED)
local scheduled, due, earliest = parked, parked, math.huge
for _, set in ipairs(DUE) do
  scheduled = scheduled + call('ZCARD', set)
  due = due + call('ZCOUNT', set, '-inf', int(now))
  earliest = math.min(earliest, first(set))
end
local workers = call('ZCOUNT', WORKERS, int(now - 60000000), '+inf')
return {int(now), scheduled, due, parked, call('ZCARD', LEASED), call('ZCARD', DONE), call('ZCARD', DEAD),
  call('EXISTS', PAUSED) == 1 and '1' or '', workers, earliest < math.huge and int(math.max(earliest, 0)) or ''}
