-- requeue: let dead jobs run again, now and with all their attempts.
-- ARGV  1 now, us ("" = server time)   2.. ids
-- Answers 1 for each that was dead, else 0. Never fails on data; more than 1,000 ids fail before any write. O(n log N).
local now, before = micros(ARGV[1]), head()
local FIRST = 2
if #ARGV > FIRST - 1 + MOST then return redis.error_reply('ERR zqueue: more than 1000 ids in one call') end
local answer = {}
for at = FIRST, #ARGV do
  local id = ARGV[at]
  local envelope = call('HGET', JOBS, id)
  answer[#answer + 1] = 0
  if envelope and call('ZREM', DEAD, id) == 1 then
    call('HDEL', ATTEMPTS, id)
    call('HDEL', CLAIMS, id)
    call('ZADD', lane(envelope), int(now), id)
    answer[#answer] = 1
    touch(now, before, now)
  end
end
return answer
