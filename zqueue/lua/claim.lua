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
local keep, kept, limited = tonumber(ARGV[8]), tonumber(ARGV[9]), call('EXISTS', LIMITS) == 1
local asked, budget = limit, limit + 150 -- the budget bounds the jobs looked at, those that get parked among them
local taken, leases, claims, answer, deadline = 0, {}, {}, {int(now), int(CAP), '', 0}, int(now + lease)
if call('EXISTS', PAUSED) == 1 then return answer end

-- Take, bury, put off, park or drop each of these members of `set`; those of `parked` are of a `group` and may start.
local function look(set, members, ids, dues, group)
  if #ids == 0 then return end
  local envelopes, entries, leaving, gone, ended = call('HMGET', JOBS, unpack(ids)), {}, {}, {}, {}
  local errors = call('EXISTS', ATTEMPTS) == 1 and call('HMGET', ATTEMPTS, unpack(ids)) or {}
  if call('EXISTS', CLAIMS) == 1 then entries = call('HMGET', CLAIMS, unpack(ids)) end
  for n, id in ipairs(ids) do
    local envelope, deliveries, due, first_due, _ = envelopes[n], 0, tonumber(dues[n])
    if entries[n] then _, deliveries, first_due = parse(entries[n]) end
    local last, leaves = deliveries > 0 and deliveries + 1 >= most, set ~= LEASED
    if not envelope then
      gone[#gone + 1], ended[#ended + 1] = id, id
    elseif deliveries >= most then
      ended[#ended + 1], leaves = id, true
      bury(id, string.format(POISON, failures(errors[n]), deliveries), now)
    elseif last and not solo then -- its last delivery: wait for a worker without another one
      leaves = group ~= nil
      if group then call('HDEL', GROUPS, id) end
      call('ZADD', group and lane(envelope) or set, int(now + CAP), id)
    elseif group or set == LEASED or not limited or passes(id, envelope, due, now) then
      if group then start(group, id, now) end
      local plain = not first_due and due >= 0 and due < 1e16 and due % 1 == 0 -- as the server wrote it
      local since = plain and dues[n] or int(math.max(first_due or due, 0))
      local at, count, pair = #answer, deliveries == 0 and '1' or int(deliveries + 1), taken * 2
      taken, solo, leases[pair + 1], leases[pair + 2] = taken + 1, solo and not last, deadline, id
      claims[pair + 1], claims[pair + 2] = id, token .. ':' .. count .. ':' .. since
      answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = id, envelope, count, since
      answer[at + 5] = errors[n] or ''
    end
    if leaves then leaving[#leaving + 1] = members[n] end
  end
  budget = budget - #ids
  if #leaving > 0 then call('ZREM', set, unpack(leaving)) end
  forget(set, gone)
  let_go(ended, now)
end

-- What is due in a set, page by page.
local function look_through(set)
  repeat
    local page = math.min(limit - taken, budget)
    if page <= 0 then return end
    local due, ids, dues = call('ZRANGE', set, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, page, 'WITHSCORES'), {}, {}
    for n = 1, #due / 2 do ids[n], dues[n] = due[2 * n - 1], due[2 * n] end
    look(set, ids, ids, dues)
  until #ids < page or set == LEASED
end

-- The parked jobs that may start now, gate by gate.
local function open_gates()
  for _, group in ipairs(call('ZRANGE', GATES, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 100)) do
    repeat
      local free, opens = allowance(group, now)
      local page = math.min(free, limit - taken, budget)
      if page == 0 and free > 0 then return end
      local members, ids, dues = waiting(group, math.max(page, 1)), {}, {}
      if #members == 0 or free == 0 and opens == math.huge then
        call('ZREM', GATES, group)
      elseif free == 0 then
        call('ZADD', GATES, int(opens), group)
      else
        for n, member in ipairs(members) do dues[n], ids[n] = unpark(member) end
        look(PARKED, members, ids, dues, group)
      end
    until free == 0 or #members == 0
  end
end

call('ZREMRANGEBYSCORE', WORKERS, '-inf', int(now - 60000000)) -- a delete first, for a full server: see extend
if worker ~= '' then
  call('ZADD', WORKERS, int(now), worker)
  trim(keep, kept, now)
end
for _, name in ipairs(call('ZRANGE', FIRES, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, 10)) do
  local spec, at = call('HGET', RECURRING, name), #answer
  if spec then
    answer[4], answer[at + 1], answer[at + 2], answer[at + 3] = answer[4] + 1, name, call('ZSCORE', FIRES, name), spec
  else
    call('ZREM', FIRES, name)
  end
end

look_through(LEASED)
local reclaimed = taken
if limited then limit = math.min(limit, taken + allowance('', now)) end -- the queue's own; what expired had started
open_gates()
for _, set in ipairs(DUE) do look_through(set) end
if taken > 0 then
  call('ZADD', LEASED, unpack(leases))
  call('HSET', CLAIMS, unpack(claims))
end
if limited then spend('', taken - reclaimed, now) end
local next_due = head()
if limit < asked and taken >= limit then -- shut: nobody could start more
  next_due = math.min(select(2, allowance('', now)), first(LEASED), first(FIRES))
elseif taken >= asked and next_due < now + CAP then
  push() -- the caller may be full: another must guard the head
end
answer[2] = int(math.max(0, math.min(next_due - now, CAP)))
if next_due <= now and taken < asked then answer[3] = '1' end
return answer
