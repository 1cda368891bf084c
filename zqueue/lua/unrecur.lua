-- unrecur: end a schedule; jobs that it has made stay.
-- ARGV  1 name
-- Answers 1, or 0 when there was none. Never fails on data. O(log N).
local name = ARGV[1]
call('ZREM', FIRES, name)
return call('HDEL', RECURRING, name)
