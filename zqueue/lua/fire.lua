-- fire: move a schedule on from one slot to the next and enqueue that slot's jobs, in one step and once.
-- ARGV  1 now, us ("" = server time)   2 name   3 slot it is at, us   4 next slot, us
--       5.. id, envelope, due, id, envelope, due ...
-- Answers 1; or 0 when it is at another slot by now, or gone: nothing is written. Never fails on data; more than 1,000
-- jobs fail before any write. O(n log N).
local now, name, slot, next_slot = micros(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST, WIDTH = 5, 3
if #ARGV > FIRST - 1 + MOST * WIDTH then return redis.error_reply('ERR zqueue: more than 1000 jobs in one call') end
if tonumber(call('ZSCORE', FIRES, name)) ~= slot then return 0 end
local before, earliest = head(), next_slot
call('ZADD', FIRES, int(next_slot), name)
for at = FIRST, #ARGV, WIDTH do
  local id, envelope, due = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local held = call('HGET', JOBS, id)
  if not (held and place(id, held)) then
    call('HSET', JOBS, id, envelope)
    call('ZADD', lane(envelope), int(due), id)
    earliest = math.min(earliest, due)
  end
end
touch(earliest, before, now)
return 1
