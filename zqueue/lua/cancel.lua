-- cancel: take jobs away, waiting or running; the worker of a running one hears of it at its next renewal.
-- ARGV  1 now, us ("" = server time)   2.. ids
-- Answers 1 for each that was scheduled or leased, else 0. Never fails on data; more than 1,000 ids fail before any
-- write. O(n log N).
local now = micros(ARGV[1])
local FIRST = 2
if #ARGV > FIRST - 1 + MOST then return redis.error_reply('ERR zqueue: more than 1000 ids in one call') end
local answer, cancelled = {}, {}
for at = FIRST, #ARGV do
  local id = ARGV[at]
  local envelope = call('HGET', JOBS, id)
  local state, set, member
  if envelope then state, set, member = place(id, envelope) end
  if state and set ~= DONE and set ~= DEAD then
    call('ZREM', set, member)
    call('HDEL', JOBS, id)
    cancelled[#cancelled + 1] = id
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
let_go(cancelled, now)
forget(LEASED, cancelled)
return answer
