-- nudge: pass the token on, when something wants a worker within CAP.
-- ARGV  1 now, us ("" = server time)   2 id of a worker that leaves ("" = none)
-- Answers the length of the wake list: 0 or 1. Never fails. O(1).
local now, leaver = micros(ARGV[1]), ARGV[2]
call('ZREM', WORKERS, leaver) -- a delete first, for a full server: see extend
nudge(now)
return call('LLEN', WAKE)
