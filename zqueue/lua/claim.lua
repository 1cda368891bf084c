-- claim: lease due jobs to one worker: expired leases first, then open gates, then lane by lane in the order of
-- (due, id). Due jobs of a group that is limited are parked on the way.
-- ARGV  1 now, us ("" = server time)   2 limit, 1 to 1,000   3 lease, us   4 fencing token of this claim
--       5 most deliveries of a job   6 "1" = one job on its last delivery may be taken
--       7 worker id ("" = seen lately)   8 keep dead, us   9 keep dead and done, count
-- Answers now, us to when something is next due (at most CAP), "1" = call again at once, the number of schedules that
--       are due (at most 10), for each of them name, slot, spec; then for each job: id, envelope, deliveries, due,
--       attempts entry ("" = none).
-- Never fails on data: what has no envelope is dropped, what used up its deliveries is buried. O(n log N).
local now, limit, lease = micros(ARGV[1]), math.min(tonumber(ARGV[2]), MOST), tonumber(ARGV[3])
local token, most, solo, worker = ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7]
local keep, kept = tonumber(ARGV[8]), tonumber(ARGV[9])
local asked, budget = limit, limit + 150 -- the budget bounds the jobs looked at, those that get parked among them
local taken, leases, claims, answer = 0, {}, {}, {int(now), int(CAP), '', '0'}
if call('EXISTS', PAUSED) == 1 then return answer end
local limited, closed = call('EXISTS', LIMITS) == 1, {} -- closed: groups whose jobs have to wait

-- Start a job of a group: true, or when to try again.
local function start(group, id)
  local opens, counts = admit(group, now)
  if counts then call('HSET', GROUPS, id, group) elseif opens == true then call('HDEL', GROUPS, id) end
  return opens
end

-- Whether a job of a lane may start; one that may not is parked, and the first of its group sets the gate.
local function passes(id, envelope, due)
  local group, opens = group_of(envelope), nil
  if not group then return true end
  if closed[group] == nil then closed[group] = waiting(group, 1)[1] ~= nil end
  if not closed[group] then opens = start(group, id) end
  if opens == true then return true end
  closed[group] = true
  local member = member_of(group, envelope, due, id)
  call('ZADD', PARKED, 0, member)
  call('HSET', GROUPS, id, member)
  if opens and opens < math.huge then call('ZADD', GATES, int(opens), group) end
end

-- Take, bury, put off, park or drop each of these members of `set`. Of the parked jobs of a `group`, stop at the first
-- that may not start, and answer when to try again.
local function look(set, members, ids, dues, group)
  if #ids == 0 then return true end
  local envelopes, entries = call('HMGET', JOBS, unpack(ids)), call('HMGET', CLAIMS, unpack(ids))
  local failed = call('HMGET', ATTEMPTS, unpack(ids))
  local moved, garbage, poison, opens = {}, {}, {}, true
  for n, id in ipairs(ids) do
    local envelope, stays, _, deliveries, first_due = envelopes[n], set == LEASED, parse(entries[n])
    local last = deliveries > 0 and deliveries + 1 >= most
    if not envelope then
      garbage[#garbage + 1] = id
    elseif deliveries >= most then
      poison[#poison + 1] = id
      call('ZADD', DEAD, int(now), id)
      call('HSET', ATTEMPTS, id, failures(failed[n]) .. ':poison: its worker died or lost its lease on each of '
        .. deliveries .. ' deliveries')
    elseif last and not solo then -- its last delivery: wait for a worker without another one
      stays = not group
      call('ZADD', group and lane(envelope) or set, int(now + CAP), id)
    elseif group or set == LEASED or not limited or passes(id, envelope, tonumber(dues[n])) then
      if group then opens = start(group, id) end
      if opens ~= true then break end
      if last then solo = false end
      taken = taken + 1
      local due = int(math.max(first_due or tonumber(dues[n]), 0))
      leases[#leases + 1], leases[#leases + 2] = int(now + lease), id
      claims[#claims + 1], claims[#claims + 2] = id, token .. ':' .. deliveries + 1 .. ':' .. due
      local at = #answer
      answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4], answer[at + 5] =
        id, envelope, tostring(deliveries + 1), due, failed[n] or ''
    end
    if not stays then moved[#moved + 1] = members[n] end
  end
  if #moved > 0 then call('ZREM', set, unpack(moved)) end
  forget(set, garbage)
  let_go(garbage, now)
  if #poison > 0 then
    call('ZREM', set, unpack(poison))
    call('HDEL', CLAIMS, unpack(poison))
    let_go(poison, now)
    trim_dead(keep, kept, now)
  end
  return opens
end

local function open_gates()
  for _, group in ipairs(call('ZRANGE', GATES, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 100)) do
    local page = math.min(limit - taken, budget)
    if page <= 0 then return end
    local members, ids, dues = waiting(group, page), {}, {}
    for n, member in ipairs(members) do dues[n], ids[n] = unpark(member) end
    budget = budget - #ids
    local opens = look(PARKED, members, ids, dues, group)
    if opens == true and #ids < page or opens == math.huge then
      call('ZREM', GATES, group)
    elseif opens ~= true then
      call('ZADD', GATES, int(opens), group)
    end
  end
end

-- The members of `set` that are due, page by page.
local function look_through(set)
  local page
  repeat
    page = math.min(limit - taken, budget)
    if page <= 0 then return end
    local due, ids, dues = call('ZRANGE', set, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, page, 'WITHSCORES'), {}, {}
    for at = 1, #due, 2 do ids[#ids + 1], dues[#dues + 1] = due[at], due[at + 1] end
    budget = budget - #ids
    look(set, ids, ids, dues)
  until page > #ids or set == LEASED
end

call('ZREMRANGEBYSCORE', WORKERS, '-inf', int(now - 60000000)) -- a delete first, for a full server: see extend
if worker ~= '' then
  call('ZADD', WORKERS, int(now), worker)
  trim_dead(keep, kept, now)
  trim_done(kept, now)
  local idle = call('ZRANGE', TAT, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 100)
  if #idle > 0 then call('ZREM', TAT, unpack(idle)) end
end
local fires = 0
for _, name in ipairs(call('ZRANGE', FIRES, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 10)) do
  local spec, at = call('HGET', RECURRING, name), #answer
  if spec then
    fires, answer[at + 1], answer[at + 2], answer[at + 3] = fires + 1, name, call('ZSCORE', FIRES, name), spec
  else
    call('ZREM', FIRES, name)
  end
end
answer[4] = tostring(fires)

look_through(LEASED)
local reclaimed = taken
if limited then limit = math.min(limit, taken + allowance(now)) end -- the queue's own limit; what expired had started
open_gates()
for _, set in ipairs(DUE) do look_through(set) end
if taken > 0 then
  call('ZADD', LEASED, unpack(leases))
  call('HSET', CLAIMS, unpack(claims))
end
local next_due = head()
if limit < asked and taken >= limit then -- shut: nobody could start more
  spend(taken - reclaimed, now)
  local _, opens = allowance(now)
  next_due = math.min(opens, first(LEASED), first(FIRES))
else
  if limited then spend(taken - reclaimed, now) end
  if taken >= asked and next_due < now + CAP then push() end -- the caller may be full: another must guard the head
end
answer[2] = int(math.max(0, math.min(next_due - now, CAP)))
if next_due <= now and taken < asked then answer[3] = '1' end
return answer
