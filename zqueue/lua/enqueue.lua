-- enqueue: schedule jobs, each once; an id that is taken keeps the job that holds it, or gives way to the new one.
-- ARGV  1 now, us ("" = server time)   2 nonce of this call
--       3.. id, envelope, when, replace, id, envelope, when, replace ...
--       when: us since the epoch, "+us" from now, or "" for now;  replace: "1" = a job of this id that is not leased
--       gives way. KEYS ends with call:PRODUCER, where the reply of this producer's last call is kept for 60 s: the
--       same nonce again is answered, not executed.
-- Answers now, then for each job its due time, us, or where the id was taken the existing job as `get` shows it.
-- Fails on more than 1,000 jobs, before anything is written. O(n log N).
local now, nonce = micros(ARGV[1]), ARGV[2]
local CALL = KEYS[#KEYS]
local FIRST, WIDTH = 3, 4
local answer = {int(now)}
if #ARGV > FIRST - 1 + MOST * WIDTH then return redis.error_reply('ERR zqueue: more than 1000 jobs in one call') end

local said = call('GET', CALL)
if said and string.sub(said, 1, #nonce) == nonce then
  call('EXPIRE', CALL, 60) -- a write, so that a WAIT behind this call waits for what the first one wrote
  local at = FIRST
  for due in string.gmatch(string.sub(said, #nonce + 1), '%S+') do
    answer[#answer + 1] = due ~= '-' and due or describe(ARGV[at])
    at = at + WIDTH
  end
  return answer
end

local ids = {}
for at = FIRST, #ARGV, WIDTH do ids[#ids + 1] = ARGV[at] end
local held = call('HMGET', JOBS, unpack(ids))
local holder, removed, dues, earliest = {}, {}, {}, math.huge -- holder: which of these jobs has the id in the end
for n, id in ipairs(ids) do
  local at = FIRST + (n - 1) * WIDTH
  local state, set, member
  if held[n] and not holder[id] then state, set, member = place(id, held[n]) end
  if state == 'leased' or (state or holder[id]) and ARGV[at + 3] ~= '1' then
    dues[n] = '-'
  else
    if state then call('ZREM', set, member) end
    if held[n] then removed[#removed + 1] = id end
    local due = due_at(ARGV[at + 2], now)
    holder[id], dues[n] = n, due == now and answer[1] or int(due)
    if due < earliest then earliest = due end
  end
end
forget(DEAD, removed)
let_go(removed, now)

local envelopes, adds, count = {}, {}, 0
for n, id in ipairs(ids) do
  if holder[id] == n then
    local envelope = ARGV[FIRST + (n - 1) * WIDTH + 1]
    local set = lane(envelope)
    local add = adds[set] or {}
    add[#add + 1], add[#add + 2] = dues[n], id
    adds[set] = add
    envelopes[count + 1], envelopes[count + 2] = id, envelope
    count = count + 2
  end
end
if count > 0 then
  local before = earliest < now + CAP and head() or math.huge
  call('HSET', JOBS, unpack(envelopes))
  for set, add in pairs(adds) do call('ZADD', set, unpack(add)) end
  touch(earliest, before, now)
end
call('SET', CALL, nonce .. ' ' .. table.concat(dues, ' '), 'EX', 60)
for n, due in ipairs(dues) do answer[n + 1] = due ~= '-' and due or describe(ids[n]) end
return answer
