-- recur: make or change a schedule; as long as its times stay what they are, so does its next slot.
-- ARGV  1 now, us ("" = server time)   2 name   3 times, JSON   4 misfire policy and envelope   5 next slot, us
--       6 "1" = no slot before that one
-- Answers the slot that is next, us. Never fails on data. O(log N).
local now, name, times, what = micros(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local slot, forward = tonumber(ARGV[5]), ARGV[6] == '1'
local before = head()
local spec, pending = call('HGET', RECURRING, name), tonumber(call('ZSCORE', FIRES, name))
if spec and pending and string.sub(spec, 1, #times + 1) == times .. '\n' then
  slot = forward and math.max(slot, pending) or pending
end
call('HSET', RECURRING, name, times .. '\n' .. what)
call('ZADD', FIRES, int(slot), name)
touch(slot, before, now)
return int(slot)
