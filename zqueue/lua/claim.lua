-- claim: lease due jobs to one worker: expired leases first, then lane by lane in the order of (due, id).
-- ARGV  1 now, us ("" = server time)   2 limit, 1 to 1,000   3 lease, us   4 fencing token of this claim
--       5 most deliveries of a job   6 "1" = one job on its last delivery may be taken
--       7 worker id ("" = seen lately)   8 keep dead, us   9 keep dead, count
-- Answers now, us to the next due job (at most CAP), "1" = call again at once, then for each job:
--       id, envelope, deliveries, due, attempts entry ("" = none).
-- Never fails on data: what has no envelope is dropped, what used up its deliveries is buried. O(n log N).
local now, limit, lease = micros(ARGV[1]), math.min(tonumber(ARGV[2]), MOST), tonumber(ARGV[3])
local token, most, solo, worker = ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7]
local keep, kept = tonumber(ARGV[8]), tonumber(ARGV[9])
local taken, jobs, leases, claims = 0, {}, {}, {}

local function take(id, envelope, deliveries, due, failed)
  taken = taken + 1
  leases[#leases + 1], leases[#leases + 2] = int(now + lease), id
  claims[#claims + 1], claims[#claims + 2] = id, token .. ':' .. deliveries .. ':' .. int(due)
  local at = #jobs
  jobs[at + 1], jobs[at + 2], jobs[at + 3], jobs[at + 4], jobs[at + 5] =
    id, envelope, tostring(deliveries), int(due), failed or ''
end

-- Look at up to `limit` jobs of `set` that are due, and take, bury, put off or drop each.
local function look(set, lane_moves)
  local due = call('ZRANGE', set, '-inf', int(now), 'BYSCORE', 'LIMIT', 0, limit - taken, 'WITHSCORES')
  if #due == 0 then return end
  local ids = {}
  for at = 1, #due, 2 do ids[#ids + 1] = due[at] end
  local envelopes, entries = call('HMGET', JOBS, unpack(ids)), call('HMGET', CLAIMS, unpack(ids))
  local failed = call('HMGET', ATTEMPTS, unpack(ids))
  local moved, garbage, poison, late = {}, {}, {}, {}
  for n, id in ipairs(ids) do
    local _, deliveries, first_due = parse(entries[n])
    if not envelopes[n] then
      garbage[#garbage + 1] = id
    elseif deliveries >= most then
      poison[#poison + 1] = id
      call('ZADD', DEAD, int(now), id)
      call('HSET', ATTEMPTS, id, failures(failed[n]) .. ':poison: its worker died or lost its lease on each of '
        .. deliveries .. ' deliveries')
    elseif deliveries > 0 and deliveries + 1 >= most and not solo then
      late[#late + 1], late[#late + 2] = int(now + CAP), id -- its last delivery: wait for a worker without another one
    else
      if deliveries > 0 and deliveries + 1 >= most then solo = false end
      take(id, envelopes[n], deliveries + 1, math.max(first_due or tonumber(due[2 * n]), 0), failed[n])
      moved[#moved + 1] = id
    end
  end
  if lane_moves and #moved > 0 then call('ZREM', set, unpack(moved)) end
  if #late > 0 then call('ZADD', set, unpack(late)) end
  forget(set, garbage)
  if #poison > 0 then
    call('ZREM', set, unpack(poison))
    call('HDEL', CLAIMS, unpack(poison))
    trim(keep, kept, now)
  end
end

call('ZREMRANGEBYSCORE', WORKERS, '-inf', int(now - 60000000)) -- a delete first, for a full server: see extend
if worker ~= '' then
  call('ZADD', WORKERS, int(now), worker)
  trim(keep, kept, now)
end
look(LEASED, false)
for _, set in ipairs(DUE) do
  if taken < limit then look(set, true) end
end
if taken > 0 then
  call('ZADD', LEASED, unpack(leases))
  call('HSET', CLAIMS, unpack(claims))
end

local next_due = head()
if taken >= limit and next_due < now + CAP then push() end -- the caller may be full: another must guard the head
local more = next_due <= now and taken < limit
return {int(now), int(math.max(0, math.min(next_due - now, CAP))), more and '1' or '', unpack(jobs)}
