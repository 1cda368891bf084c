-- purge: delete jobs of a state, oldest first: waiting ones by their due time, others by when they ended.
-- ARGV  1 now, us ("" = server time)   2 state: scheduled | done | dead
--       3 least age, us ("" = any, those of the future and the parked ones too)   4 limit, 1 to 1,000
-- Answers how many; fewer than the limit when no more are left. Never fails on data. O(n log N).
local now, state, age, limit = micros(ARGV[1]), ARGV[2], ARGV[3], math.min(tonumber(ARGV[4]), MOST)
local before = age == '' and '+inf' or int(now - tonumber(age))
local purged = 0
for _, set in ipairs(({scheduled = DUE, done = {DONE}, dead = {DEAD}})[state]) do
  local ids = call('ZRANGE', set, '-inf', before, 'BYSCORE', 'LIMIT', 0, limit - purged)
  purged = purged + #ids
  forget(set, ids)
end
if state == 'scheduled' and age == '' and purged < limit then
  local members, ids = call('ZRANGE', PARKED, 0, limit - purged - 1), {}
  for n, member in ipairs(members) do
    ids[n] = select(2, unpark(member))
    call('ZREM', PARKED, member)
  end
  purged = purged + #ids
  forget(PARKED, ids)
  let_go(ids, now)
end
return purged
