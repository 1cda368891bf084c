-- missing: which of some ids have no job, in any state. An envelope whose id is in no set is no job.
-- ARGV  1.. ids
-- Answers those ids. Never fails on data; more than 1,000 ids fail. O(n log N).
if #ARGV > MOST then return redis.error_reply('ERR zqueue: more than 1000 ids in one call') end
local answer = {}
for n, envelope in ipairs(#ARGV > 0 and call('HMGET', JOBS, unpack(ARGV)) or {}) do
  if not envelope or not place(ARGV[n], envelope) then answer[#answer + 1] = ARGV[n] end
end
return answer
