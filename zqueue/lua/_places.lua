-- _places: where a job is, and how it leaves.
local POISON = '%d:poison: its worker died or lost its lease on each of %d deliveries'

-- Where a job is: its state, the sorted set, its member there, and its score (parked: when it is due). Nothing when it
-- is in none: an envelope whose id is in no set is no job.
local function place(id, envelope)
  local sets = {LEASED, lane(envelope), DONE, DEAD}
  for n, state in ipairs({'leased', 'scheduled', 'done', 'dead'}) do
    local score = call('ZSCORE', sets[n], id)
    if score then return state, sets[n], id, score end
  end
  local member = call('HGET', GROUPS, id)
  if member and call('ZSCORE', PARKED, member) then return 'parked', PARKED, member, (unpark(member)) end
end

-- One job as inspection sees it: id, state, score, envelope, claims entry, attempts entry, progress, result; false when
-- there is none.
local function describe(id)
  local envelope = call('HGET', JOBS, id)
  if not envelope then return false end
  local state, _, _, score = place(id, envelope)
  if not state then return false end
  return {id, state, score, envelope, call('HGET', CLAIMS, id), call('HGET', ATTEMPTS, id), call('HGET', PROGRESS, id),
    call('HGET', RESULTS, id)}
end

-- Leave nothing of these jobs in `set` or in the hashes.
local function forget(set, ids)
  if #ids == 0 then return end
  call('ZREM', set, unpack(ids))
  for _, hash in ipairs({JOBS, CLAIMS, ATTEMPTS, PROGRESS, RESULTS}) do drop(hash, ids) end
end

-- A job that has left its place goes among the dead, with its attempts entry.
local function bury(id, failed, now)
  for _, hash in ipairs({CLAIMS, PROGRESS}) do call('HDEL', hash, id) end
  call('ZADD', DEAD, int(now), id)
  call('HSET', ATTEMPTS, id, failed)
end

-- Bound the dead and the done by count, oldest first; the dead by age too, and the done by the time until which each
-- is kept. A hundred of each a call; of more than a hundred done ones, it looks at some hundred. Arrival times that
-- are past go too.
local function trim(keep, most, now)
  if call('EXISTS', DEAD, DONE, TAT) == 0 then return end
  for _, set in ipairs({DEAD, DONE}) do
    local over = math.min(call('ZCARD', set) - most, 100)
    if over > 0 then forget(set, call('ZRANGE', set, 0, over - 1)) end
  end
  forget(DEAD, call('ZRANGE', DEAD, '-inf', int(now - keep), 'BYSCORE', 'LIMIT', 0, 100))
  local from = now % math.max(1, math.ceil(call('ZCARD', DONE) / 100)) * 100
  local old, looked = {}, call('ZRANGE', DONE, from, from + 99)
  for n, entry in ipairs(#looked > 0 and call('HMGET', CLAIMS, unpack(looked)) or {}) do
    local _, _, kept_until = parse(entry)
    if not kept_until or kept_until <= now then old[#old + 1] = looked[n] end
  end
  forget(DONE, old)
  local idle = call('ZRANGE', TAT, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 1000)
  if #idle > 0 then call('ZREM', TAT, unpack(idle)) end
end
