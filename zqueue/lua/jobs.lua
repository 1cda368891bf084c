-- jobs: one page of the jobs in a state, in the order in which they will run (scheduled: lane by lane, then the parked
-- ones group by group) or ended.
-- ARGV  1 state: scheduled | leased | done | dead   2 limit, 1 to 1,000
--       3 lane, 4 score, 5 id of the job to start after ("" "" "" = from the start; the job itself need not exist any
--       more; of a parked one 3, 0 and its member)
-- Answers rows like those of `get`; of an id without a job only the lane as its envelope. Never fails on data.
-- O(log N + n).
local state, limit = ARGV[1], math.min(tonumber(ARGV[2]), MOST)
local after_lane, after_score, after_id = tonumber(ARGV[3]) or 0, ARGV[4], ARGV[5]
if after_lane == 3 then -- the parked: a job whose envelope is damaged does not tell its member
  local id = select(2, unpark(after_id))
  after_id = call('HGET', GROUPS, id) or call('ZSCORE', PARKED, id) and id or after_id
end
local sets = ({scheduled = {DUE[1], DUE[2], DUE[3], PARKED}, leased = {LEASED}, done = {DONE}, dead = {DEAD}})[state]

-- Whether a comes before b, or is b, in a sorted set: byte by byte, while Lua compares by the server's locale.
local function in_order(a, b)
  for at = 1, math.min(#a, #b) do
    local left, right = string.byte(a, at), string.byte(b, at)
    if left ~= right then return left < right end
  end
  return #a <= #b
end

-- The rank of the first member behind (score, id), by bisection among those of the same score.
local function rank_after(set)
  local low, high = call('ZCOUNT', set, '-inf', '(' .. after_score), call('ZCOUNT', set, '-inf', after_score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if in_order(call('ZRANGE', set, middle, middle)[1], after_id) then low = middle + 1 else high = middle end
  end
  return low
end

local answer = {}
for n, set in ipairs(sets) do
  local start = 0
  if after_score ~= '' and #sets > 1 and n <= after_lane then start = math.huge end
  if after_score ~= '' and (#sets == 1 or n == after_lane + 1) then start = rank_after(set) end
  if start ~= math.huge and #answer < limit then
    local found = call('ZRANGE', set, start, start + limit - #answer - 1, 'WITHSCORES')
    local ids, scores, columns = {}, {}, {}
    for at = 1, #found, 2 do
      local due, id = found[at + 1], found[at]
      if set == PARKED then due, id = unpark(id) end
      ids[#ids + 1], scores[#scores + 1] = id, due
    end
    for at, hash in ipairs({JOBS, CLAIMS, ATTEMPTS, PROGRESS, RESULTS}) do
      columns[at] = #ids > 0 and call('HMGET', hash, unpack(ids))
    end
    for at, id in ipairs(ids) do
      answer[#answer + 1] = {id, set == PARKED and 'parked' or state, scores[at], columns[1][at] or tostring(n - 1),
        columns[2][at], columns[3][at], columns[4][at], columns[5][at]}
    end
  end
end
return answer
