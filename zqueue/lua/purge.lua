-- purge: delete jobs of a state, oldest first: waiting ones by their due time, others by when they ended.
-- ARGV  1 now, us ("" = server time)   2 state: scheduled | done | dead   3 least age, us ("" = any, the future too)
--       4 limit, 1 to 1,000
-- Answers how many; fewer than the limit when no more are left. Never fails on data. O(n log N).
local now, state, age, limit = micros(ARGV[1]), ARGV[2], ARGV[3], math.min(tonumber(ARGV[4]), MOST)
local before = age == '' and '+inf' or int(now - tonumber(age))
local purged = 0

local function drop(set, members, ids)
  if #ids == 0 then return end
  call('ZREM', set, unpack(members))
  let_go(ids, now)
  forget(set, ids)
  purged = purged + #ids
end

local sets = state == 'scheduled' and DUE or {state == 'done' and DONE or DEAD}
for _, set in ipairs(sets) do
  if purged < limit then
    local ids = call('ZRANGE', set, '-inf', before, 'BYSCORE', 'LIMIT', 0, limit - purged)
    drop(set, ids, ids)
  end
end
if state == 'scheduled' and purged < limit then
  local members, ids, old = call('ZRANGE', PARKED, 0, limit - purged - 1), {}, {}
  for _, member in ipairs(members) do
    local due, id = unpark(member)
    if age == '' or due <= tonumber(before) then old[#old + 1], ids[#ids + 1] = member, id end
  end
  drop(PARKED, old, ids)
end
return purged
