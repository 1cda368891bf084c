-- nudge: pass the token on, when something wants a worker within CAP.
-- ARGV  1 now, us ("" = server time)
-- Answers the length of the wake list: 0 or 1. Never fails. O(1).
local now = micros(ARGV[1])
call('ZREM', WORKERS, '') -- a delete first, for a full server: see extend
if head() < now + CAP then push() end
return call('LLEN', WAKE)
