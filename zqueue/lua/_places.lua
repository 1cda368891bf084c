-- _places: where a job is, and how it leaves.

-- Where a job is: its state, the sorted set, its member there, and its score (parked: when it is due). Nothing when it
-- is in none: an envelope whose id is in no set is no job.
local function place(id, envelope)
  local sets = {LEASED, lane(envelope), DONE, DEAD}
  for n, state in ipairs({'leased', 'scheduled', 'done', 'dead'}) do
    local score = call('ZSCORE', sets[n], id)
    if score then return state, sets[n], id, score end
  end
  local member = call('HGET', GROUPS, id)
  if member and call('ZSCORE', PARKED, member) then return 'parked', PARKED, member, int((unpark(member))) end
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
  for _, hash in ipairs({JOBS, CLAIMS, ATTEMPTS, PROGRESS, RESULTS}) do call('HDEL', hash, unpack(ids)) end
end

-- Bound the dead by age and by count, oldest first, a hundred a call.
local function trim_dead(keep, most, now)
  forget(DEAD, call('ZRANGE', DEAD, '-inf', int(now - keep), 'BYSCORE', 'LIMIT', 0, 100))
  local over = math.min(call('ZCARD', DEAD) - most, 100)
  if over > 0 then forget(DEAD, call('ZRANGE', DEAD, 0, over - 1)) end
end

-- Bound the done by count and by the time until which each is kept, a hundred a call.
local function trim_done(most, now)
  local oldest, old = call('ZRANGE', DONE, 0, 99), {}
  if #oldest == 0 then return end
  local over = call('ZCARD', DONE) - most
  for n, entry in ipairs(call('HMGET', CLAIMS, unpack(oldest))) do
    local _, _, until_ = parse(entry)
    if n <= over or not until_ or until_ <= now then old[#old + 1] = oldest[n] end
  end
  forget(DONE, old)
end
