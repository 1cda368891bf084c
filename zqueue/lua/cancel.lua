-- cancel: take jobs away, waiting or running; the worker of a running one hears of it at its next renewal.
-- ARGV  1.. ids
-- Answers 1 for each that was scheduled or leased, else 0. Never fails on data; more than 1,000 ids fail before any
-- write. O(n log N).
if #ARGV > MOST then return redis.error_reply('ERR zqueue: more than 1000 ids in one call') end
local answer = {}
for n, id in ipairs(ARGV) do
  local envelope = call('HGET', JOBS, id)
  answer[n] = 0
  if envelope and call('ZREM', lane(envelope), id) + call('ZREM', LEASED, id) > 0 then
    forget(DEAD, {id})
    answer[n] = 1
  end
end
return answer
