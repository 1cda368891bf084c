-- enqueue: schedule jobs, each once; an id that is taken keeps the job that holds it.
-- ARGV  1 now, us ("" = server time)   2 nonce of this call   3.. id, envelope, when, id, envelope, when ...
--       when: us since the epoch, "+us" from now, or "" for now. KEYS ends with call:PRODUCER, where the reply of this
--       producer's last call is kept for 60 s: the same nonce again is answered, not executed.
-- Answers now, then for each job its due time, us, or where the id was taken the existing job as `get` shows it.
-- Fails on more than 1,000 jobs, before anything is written. O(n log N).
local now, nonce = micros(ARGV[1]), ARGV[2]
local CALL = KEYS[#KEYS]
local FIRST, WIDTH = 3, 3
local answer = {int(now)}
if #ARGV > FIRST - 1 + MOST * WIDTH then return redis.error_reply('ERR zqueue: more than 1000 jobs in one call') end

local said = call('GET', CALL)
if said and string.sub(said, 1, #nonce) == nonce then
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
local fresh, envelopes, adds, dues, earliest = {}, {}, {}, {}, math.huge
for n, id in ipairs(ids) do
  local at = FIRST + (n - 1) * WIDTH
  local envelope, when = ARGV[at + 1], ARGV[at + 2]
  if fresh[id] or held[n] and describe(id) then
    dues[n] = '-'
  else
    if held[n] then forget(DEAD, {id}) end
    local due = now
    if string.sub(when, 1, 1) == '+' then due = now + tonumber(when) elseif when ~= '' then due = tonumber(when) end
    fresh[id], dues[n], earliest = true, int(due), math.min(earliest, due)
    local key = lane(envelope)
    local add = adds[key] or {}
    add[#add + 1], add[#add + 2] = dues[n], id
    adds[key] = add
    envelopes[#envelopes + 1], envelopes[#envelopes + 2] = id, envelope
  end
end

if #envelopes > 0 then
  local before = earliest < now + CAP and head() or math.huge
  call('HSET', JOBS, unpack(envelopes))
  for key, add in pairs(adds) do call('ZADD', key, unpack(add)) end
  touch(earliest, before, now)
end
call('SET', CALL, nonce .. ' ' .. table.concat(dues, ' '), 'EX', 60)
for n, due in ipairs(dues) do answer[n + 1] = due ~= '-' and due or describe(ids[n]) end
return answer
