-- _limits: rate and concurrency, of groups and of the whole queue, which is group "". A group without a limit of its
-- own has that of group "*", if there is one.
local limits = {} -- those that this call has read

-- A group's us between two starts and its burst, and its most runs at a time; the first and the last may be nil.
local function limit_of(group)
  if not limits[group] then
    local set = call('HGET', LIMITS, group) or (group ~= '' and call('HGET', LIMITS, '*')) or ''
    local interval, burst, cap = string.match(set, '^([%d.]*):(%d*):(%d*)$')
    interval = tonumber(interval)
    limits[group] = {interval and math.max(interval, 1), math.max(tonumber(burst) or 1, 1), tonumber(cap)}
  end
  return unpack(limits[group], 1, 3)
end

-- Since when a group may start, or will. By GCRA (ATM Forum TM 4.0) each start moves its theoretical arrival time on by
-- an interval, and one may start when that is at most burst - 1 intervals ahead.
local function opening(group, now, interval, burst)
  return math.max(tonumber(call('ZSCORE', TAT, group)) or 0, now) - (burst - 1) * interval
end

-- How many jobs of a group may start now; and if none, when one may: math.huge for "when a run of it ends".
local function allowance(group, now)
  local interval, burst, cap = limit_of(group)
  local most, opens = math.huge, math.huge
  if cap then
    local running = group == '' and call('ZCARD', LEASED) or tonumber(call('HGET', RUNNING, group)) or 0
    most = math.max(0, cap - running)
  end
  if interval then
    local since = opening(group, now, interval, burst) -- exact to 0.25 us, as a score is
    local rated = math.ceil(since) > now and 0 or math.min(burst, math.floor((now - since + 0.25) / interval) + 1)
    if rated < most then most, opens = rated, math.ceil(since) end
  end
  return most, opens
end

-- So many jobs of a group start now.
local function spend(group, started, now)
  local interval = limit_of(group)
  if interval and started > 0 then
    call('ZADD', TAT, string.format('%.3f', opening(group, now, interval, 1) + started * interval), group)
  end
end
