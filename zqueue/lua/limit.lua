-- limit: set or lift the limit of a group, of the whole queue, or of all groups without one of their own: what waits in
-- those hears of it when their gates open next, or a run of theirs ends.
-- ARGV  1 now, us ("" = server time)   2 group ("" = the queue, "*" = each group without a limit)
--       3 limit, us between two starts : burst : most runs at a time, each part may be empty ("" = lift it)
-- Answers 1. Never fails on data. O(log N).
local now, group, limit = micros(ARGV[1]), ARGV[2], ARGV[3]
local before = head()
if limit == '' then
  call('HDEL', LIMITS, group)
else
  call('HSET', LIMITS, group, limit)
end
local interval, burst = limit_of(group)
if interval then -- what a slower limit had started may not hold this one up
  call('ZADD', TAT, 'XX', 'LT', string.format('%.3f', now + burst * interval), group)
else
  call('ZREM', TAT, group)
end
if group == '' then
  nudge(now)
elseif waiting(group, 1)[1] then
  call('ZADD', GATES, int(now), group)
  touch(now, before, now)
end
return 1
