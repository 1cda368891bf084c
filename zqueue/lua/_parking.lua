-- _parking: a job whose group may not start is parked, once, and the group's gate says when to try again; without one
-- it waits for the end of a run of its group. `groups` holds a parked job's member of `parked`, and of a leased one
-- the group in whose `running` it counts.
local closed = {} -- groups whose jobs have to wait, as far as this call has asked

-- The group of a job, or nothing. The envelope begins with it; a quote or a backslash in it is escaped there.
local function group_of(envelope)
  local group = string.match(envelope, '^%d{"group":"([^"%c]+)"')
  if not group or not string.find(group, '\\', 1, true) then return group end
  local readable, job = pcall(cjson.decode, string.sub(envelope, 2))
  group = readable and type(job.group) == 'string' and job.group
  return group and not string.find(group, '%c') and group or nil
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

-- The due time, as text, and the id in a member; of what is none, 0 and all of it.
local function unpark(member)
  local due, id = string.match(member, '^[^%z]*%z%d(' .. string.rep('%d', 16) .. ')(.*)$')
  return int(tonumber(due) or 0), id or member
end

-- A job of a group starts now.
local function start(group, id, now)
  local _, _, cap = limit_of(group)
  spend(group, 1, now)
  if cap then
    call('HSET', RUNNING, group, int((tonumber(call('HGET', RUNNING, group)) or 0) + 1))
    call('HSET', GROUPS, id, group)
  else
    call('HDEL', GROUPS, id)
  end
end

-- Whether a job of a lane starts now; else it is parked.
local function passes(id, envelope, due, now)
  local group = group_of(envelope)
  if not group then return true end
  if closed[group] == nil then closed[group] = waiting(group, 1)[1] and 'behind others' or false end
  if closed[group] ~= true then
    local most, opens = allowance(group, now)
    if most > 0 and not closed[group] then
      start(group, id, now)
      return true
    end
    closed[group] = true
    if most > 0 then opens = now end -- those that wait have lost their gate
    if opens < math.huge then call('ZADD', GATES, 'LT', int(opens), group) end
  end
  local member = member_of(group, envelope, due, id)
  call('ZADD', PARKED, 0, member)
  call('HSET', GROUPS, id, member)
end

-- These jobs run no more, and wait no more: what they held of their groups is free, and the gates of those open.
local function let_go(ids, now)
  if #ids == 0 then return end
  local freed, opened = {}, false
  for n, held in ipairs(call('EXISTS', GROUPS) == 1 and call('HMGET', GROUPS, unpack(ids)) or {}) do
    if held then
      local group = string.match(held, '^[^%z]*')
      call('HDEL', GROUPS, ids[n])
      if group ~= held then
        call('ZREM', PARKED, held)
        freed[group] = freed[group] or false
      else
        local left = (tonumber(call('HGET', RUNNING, group)) or 0) - 1
        if left > 0 then call('HSET', RUNNING, group, int(left)) else call('HDEL', RUNNING, group) end
        freed[group] = true
      end
    end
  end
  local before = next(freed) and head()
  for group, ended in pairs(freed) do
    if not waiting(group, 1)[1] then
      call('ZREM', GATES, group)
    elseif ended then
      opened = true
      call('ZADD', GATES, int(now), group)
    end
  end
  if opened then touch(now, before, now) end
  local _, _, cap = limit_of('')
  if cap then nudge(now) end -- a shut queue pushes no token: the end of a run has to
end
