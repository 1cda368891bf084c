-- missing: which of some ids have no job, in any state. An envelope whose id is in no set is no job.
-- ARGV  1.. ids
-- Answers those ids. Never fails on data; more than 1,000 ids fail. O(n log N).
if #ARGV > MOST then return redis.error_reply('ERR zqueue: more than 1000 ids in one call') end

local function placed(id)
  for _, set in ipairs({DUE[2], LEASED, DUE[1], DUE[3], DEAD}) do
    if call('ZSCORE', set, id) then return true end
  end
  return false
end

local answer = {}
for _, id in ipairs(ARGV) do
  if call('HEXISTS', JOBS, id) == 0 or not placed(id) then answer[#answer + 1] = id end
end
return answer
