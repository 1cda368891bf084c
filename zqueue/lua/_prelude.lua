-- _prelude: names for KEYS, and the steps that all scripts share. Before each script's text are put this, _limits,
-- _parking and _places. Times are us since the epoch. Numbers go back to the server through int(): `..` would write
-- 1.7e+15.
local call = redis.call
local DUE = {KEYS[1], KEYS[2], KEYS[3]}
local LEASED, JOBS, CLAIMS, ATTEMPTS, DEAD, WAKE, WORKERS = unpack(KEYS, 4, 10)
local DONE, RESULTS, PROGRESS, RECURRING, FIRES, PAUSED, ENDED = unpack(KEYS, 11, 17)
local PARKED, GATES, TAT, RUNNING, LIMITS, GROUPS = unpack(KEYS, 18, 23)
local CAP = 5000000 -- the longest anyone sleeps; a lost wake-up costs at most this
local MOST = 1000 -- jobs a script takes; callers send chunks of 100

local function int(number)
  return string.format('%d', number)
end

-- The one clock: the server's, or what a test passed.
local function micros(given)
  if given ~= '' then return tonumber(given) end
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end

-- When a job shall be due: us since the epoch, "+us" from now, or "" for now.
local function due_at(when, now)
  if string.sub(when, 1, 1) == '+' then return now + tonumber(when) end
  return when == '' and now or tonumber(when)
end

local function first(key)
  return tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) or math.huge
end

-- When something next wants a worker: a job falls due, a lease ends, a gate opens, a schedule fires.
local function head()
  return math.min(first(DUE[1]), first(DUE[2]), first(DUE[3]), first(LEASED), first(GATES), first(FIRES))
end

local function push()
  if call('LLEN', WAKE) == 0 then call('RPUSH', WAKE, 1) end
end

local function nudge(now)
  if head() < now + CAP then push() end
end

-- Ends every script that makes something runnable at `at`; `before` is the head before it did. A head that is over
-- 100 ms late heals a token that a dead process took with it.
local function touch(at, before, now)
  if at < now + CAP and (at < before or before < now - 100000) then push() end
end

-- The lane that an envelope's first character says; the middle one where it says none.
local function lane(envelope)
  return DUE[(string.byte(envelope) or 0) - 47] or DUE[2]
end

local function drop(hash, ids) -- without a look at each field where there is no hash at all
  if call('EXISTS', hash) == 1 then call('HDEL', hash, unpack(ids)) end
end

-- A claims entry is token:deliveries:due; the token is empty while the job is not leased. Of a job that is done it is
-- ":0:" and the time until which it is kept.
local function parse(entry)
  local token, deliveries, due = string.match(entry or '', '^(%x*):(%d+):(%d+)$')
  return token, tonumber(deliveries) or 0, tonumber(due)
end

-- An attempts entry is count:error.
local function failures(entry)
  return tonumber(string.match(entry or '', '^(%d+):')) or 0
end
