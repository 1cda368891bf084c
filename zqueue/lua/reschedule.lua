-- reschedule: give waiting jobs, parked ones too, another due time.
-- ARGV  1 now, us ("" = server time)   2 when, us since the epoch or "+us" from now   3.. ids
-- Answers 1 for each that was scheduled, else 0. Never fails on data; more than 1,000 ids fail before any write.
-- O(n log N).
local now = micros(ARGV[1])
local due, before = due_at(ARGV[2], now), head()
local FIRST = 3
if #ARGV > FIRST - 1 + MOST then return redis.error_reply('ERR zqueue: more than 1000 ids in one call') end
local answer = {}
for at = FIRST, #ARGV do
  local id = ARGV[at]
  local envelope = call('HGET', JOBS, id)
  local state, set, member
  if envelope then state, set, member = place(id, envelope) end
  answer[#answer + 1] = 0
  if state == 'scheduled' or state == 'parked' then
    local _, deliveries = parse(call('HGET', CLAIMS, id))
    if deliveries > 0 then call('HSET', CLAIMS, id, ':' .. deliveries .. ':' .. int(math.max(due, 0))) end
    call('ZREM', set, member)
    call('ZADD', lane(envelope), int(due), id)
    if state == 'parked' then let_go({id}, now) end
    answer[#answer] = 1
    touch(due, before, now)
  end
end
return answer
