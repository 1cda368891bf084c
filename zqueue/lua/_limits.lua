-- _limits: rate and concurrency. A job of a group that may not start now is parked, once, and its group's gate says when
-- to try again. `groups` holds a parked job's member of `parked`, or the group in whose `running` a leased job counts.

-- The group of a job, or nothing. The envelope begins with it; a quote or a backslash in it is escaped there.
local function group_of(envelope)
  local group = string.match(envelope, '^%d{"group":"([^"]*)"')
  if not group or not string.find(group, '\\', 1, true) then return group end
  local readable, job = pcall(cjson.decode, string.sub(envelope, 2))
  return readable and type(job.group) == 'string' and job.group or nil
end

-- A group's us between two starts, its burst, and its most runs at a time; each nil where there is no such limit.
local function limit_of(group)
  local interval, burst, cap = string.match(call('HGET', LIMITS, group) or '', '^([%d.]*):(%d*):(%d*)$')
  return tonumber(interval), tonumber(burst), tonumber(cap)
end

-- Start a job of a group now, by GCRA (ATM Forum TM 4.0; `tat` is the theoretical arrival time): answers true, or when
-- to try again, which is math.huge for "when a run of it ends". Also whether the run counts.
local function admit(group, now)
  local interval, burst, cap = limit_of(group)
  if cap and (tonumber(call('HGET', RUNNING, group)) or 0) >= cap then return math.huge end
  if interval then
    local tat = math.max(tonumber(call('ZSCORE', TAT, group)) or 0, now)
    local opens = math.ceil(tat - (burst - 1) * interval)
    if opens > now then return opens end
    call('ZADD', TAT, string.format('%.3f', tat + interval), group)
  end
  if cap then call('HINCRBY', RUNNING, group, 1) end
  return true, cap ~= nil
end

-- How many jobs the queue's own limit (group "") lets start now, and when it lets one start if that is none.
local function allowance(now)
  local interval, burst, cap = limit_of('')
  local most, opens = math.huge, math.huge
  if cap then most = math.max(0, cap - call('ZCARD', LEASED)) end
  if interval then
    local ahead = math.max((tonumber(call('ZSCORE', TAT, '')) or 0) - now, 0)
    local rated = math.max(0, burst - math.ceil(ahead / interval))
    if rated <= most then most, opens = rated, math.ceil(now + ahead - (burst - 1) * interval) end
  end
  return most, opens
end

-- So many jobs started under the queue's own rate.
local function spend(started, now)
  local interval = limit_of('')
  if not interval or started == 0 then return end
  local tat = math.max(tonumber(call('ZSCORE', TAT, '')) or 0, now)
  call('ZADD', TAT, string.format('%.3f', tat + started * interval), '')
end

-- The first parked jobs of a group, as members of `parked`.
local function waiting(group, most)
  return call('ZRANGE', PARKED, '[' .. group .. '\0', '(' .. group .. '\1', 'BYLEX', 'LIMIT', 0, most)
end

-- `parked` orders a group's jobs by (lane, due, id): a member is group \0 lane due id, the due time in 16 digits.
local function member_of(group, envelope, due, id)
  due = math.max(0, math.min(due, 9999999999999999))
  return group .. '\0' .. (string.match(envelope, '^[012]') or '1') .. string.format('%016.0f', due) .. id
end

-- The due time and the id in a member.
local function unpark(member)
  local due, id = string.match(member, '^[^%z]*%z%d(' .. string.rep('%d', 16) .. ')(.*)$')
  return tonumber(due) or 0, id or member
end

-- These jobs run no more, and wait no more: what they held of their groups is free, and the gates of those open.
local function let_go(ids, now)
  if #ids == 0 then return end
  local before
  for n, held in ipairs(call('HMGET', GROUPS, unpack(ids))) do
    if held then
      before = before or head()
      call('HDEL', GROUPS, ids[n])
      if string.find(held, '%z') then
        call('ZREM', PARKED, held)
      else
        if call('HINCRBY', RUNNING, held, -1) <= 0 then call('HDEL', RUNNING, held) end
        if waiting(held, 1)[1] then call('ZADD', GATES, int(now), held) end
      end
    end
  end
  if before and first(GATES) <= now then touch(now, before, now) end
  local _, _, cap = limit_of('')
  if cap then nudge(now) end -- a shut queue pushes no token: the end of a run has to
end
