-- missing: which of some ids have no job, in any state.
-- ARGV  1.. ids
-- Answers those ids. Never fails on data; more than 1,000 ids fail. O(n).
if #ARGV > MOST then return redis.error_reply('ERR zqueue: more than 1000 ids in one call') end
local answer = {}
for _, id in ipairs(ARGV) do
  if call('HEXISTS', JOBS, id) == 0 then answer[#answer + 1] = id end
end
return answer
