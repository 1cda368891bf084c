-- _prelude: names for KEYS, and the steps that several scripts share. It is put before each script's text.
-- Times are us since the epoch. Numbers go back to the server through int(): `..` would write 1.7e+15.
local call = redis.call
local DUE = {KEYS[1], KEYS[2], KEYS[3]}
local LEASED, JOBS, CLAIMS, ATTEMPTS = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local DEAD, WAKE, WORKERS = KEYS[8], KEYS[9], KEYS[10]
local CAP = 5000000 -- the longest anyone sleeps; a lost wake-up costs at most this
local MOST = 1000 -- jobs a script takes; callers send chunks of 100

local function int(number)
  return string.format('%.0f', number)
end

-- The one clock: the server's, or what a test passed.
local function micros(given)
  if given ~= '' then return tonumber(given) end
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end

local function first(key)
  return tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) or math.huge
end

-- When something next wants a worker: a job falls due or a lease ends.
local function head()
  return math.min(first(DUE[1]), first(DUE[2]), first(DUE[3]), first(LEASED))
end

local function push()
  if call('LLEN', WAKE) == 0 then call('RPUSH', WAKE, 1) end
end

-- Ends every script that makes something runnable at `at`; `before` is the head before it did. A head that is over
-- 100 ms late heals a token that a dead process took with it.
local function touch(at, before, now)
  if at < now + CAP and (at < before or before < now - 100000) then push() end
end

local function lane(envelope)
  return DUE[(tonumber(string.sub(envelope, 1, 1)) or 1) + 1] or DUE[2]
end

-- A claims entry is token:deliveries:due, the token empty while the job is not leased.
local function parse(entry)
  local token, deliveries, due = string.match(entry or '', '^(%x*):(%d+):(%d+)$')
  return token, tonumber(deliveries) or 0, tonumber(due)
end

-- An attempts entry is count:error.
local function failures(entry)
  return tonumber(string.match(entry or '', '^(%d+):')) or 0
end

-- Leave nothing of these jobs in `set` or in the hashes.
local function forget(set, ids)
  if #ids == 0 then return end
  call('ZREM', set, unpack(ids))
  call('HDEL', JOBS, unpack(ids))
  call('HDEL', CLAIMS, unpack(ids))
  call('HDEL', ATTEMPTS, unpack(ids))
end

-- Bound the dead by age and by count, oldest first, a hundred a call.
local function trim(keep, most, now)
  forget(DEAD, call('ZRANGE', DEAD, '-inf', int(now - keep), 'BYSCORE', 'LIMIT', 0, 100))
  local over = math.min(call('ZCARD', DEAD) - most, 100)
  if over > 0 then forget(DEAD, call('ZRANGE', DEAD, 0, over - 1)) end
end

-- One job as inspection sees it: id, state, score, envelope, claims entry, attempts entry; false when there is none.
-- An envelope whose id is in no set is no job.
local function describe(id)
  local envelope = call('HGET', JOBS, id)
  if not envelope then return false end
  local state, score = 'leased', call('ZSCORE', LEASED, id)
  if not score then state, score = 'scheduled', call('ZSCORE', lane(envelope), id) end
  if not score then state, score = 'dead', call('ZSCORE', DEAD, id) end
  return score and {id, state, score, envelope, call('HGET', CLAIMS, id), call('HGET', ATTEMPTS, id)}
end
