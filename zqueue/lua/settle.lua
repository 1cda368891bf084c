-- settle: end runs of jobs; each item is fenced by its token.
-- ARGV  1 now, us ("" = server time)   2 keep dead, us   3 keep dead and done, count
--       4.. id, token, verb, time, text, id, token, verb, time, text ...
--       verb ack: it is done; kept for `time`, us, with its result `text`, or forgotten when that is 0;
--       retry: an attempt failed with the error `text`, due again after `time`, us;  snooze: due again after `time`,
--       us, no attempt spent;  bury: an attempt failed, among the dead with the error `text`;  release: give it back,
--       no delivery spent, due after `time`, us, or at its old due time when that is 0.
-- Answers now, then ok | gone | stolen for each. Never fails on data; more than 1,000 items fail before any write.
-- Publishes the ids of those that are kept done or buried, one a line, on the channel `ended`. O(n log N).
local now, keep, kept = micros(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local FIRST, WIDTH = 4, 5
local answer = {int(now)}
if #ARGV > FIRST - 1 + MOST * WIDTH then return redis.error_reply('ERR zqueue: more than 1000 items in one call') end
local ids = {}
for at = FIRST, #ARGV, WIDTH do ids[#ids + 1] = ARGV[at] end
if #ids == 0 then return answer end

local freed, gone, back, seen = {}, {}, {}, {} -- back: claims entry and place in ARGV of each that stays
for n, entry in ipairs(call('HMGET', CLAIMS, unpack(ids))) do
  local id, at = ids[n], FIRST + (n - 1) * WIDTH
  local held = ARGV[at + 1] .. ':'
  if not entry or seen[id] or string.sub(entry, 1, 1) == ':' then
    answer[n + 1] = 'gone'
  elseif string.sub(entry, 1, #held) ~= held then
    answer[n + 1] = parse(entry) and 'stolen' or 'gone'
  else
    answer[n + 1], seen[id], freed[#freed + 1] = 'ok', true, id
    local forgotten = ARGV[at + 2] == 'ack' and ARGV[at + 3] == '0'
    if forgotten then gone[#gone + 1] = id else back[#back + 1] = {entry, at} end
  end
end
if #freed == 0 then return answer end
call('ZREM', LEASED, unpack(freed)) -- a delete first, for a full server: see extend
call('HDEL', CLAIMS, unpack(freed))
drop(PROGRESS, freed)
if #gone > 0 then
  call('HDEL', JOBS, unpack(gone))
  drop(ATTEMPTS, gone)
end
let_go(freed, now)

local function failed(id, text)
  return failures(call('HGET', ATTEMPTS, id)) + 1 .. ':' .. text
end

local before, told = #back > 0 and head(), {}
for _, run in ipairs(back) do
  local _, deliveries, due = parse(run[1])
  local at = run[2]
  local id, verb, time, text = ARGV[at], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
  if verb == 'ack' then
    call('ZADD', DONE, int(now), id)
    call('HSET', CLAIMS, id, ':0:' .. int(now + time)) -- until when it is kept
    call('HSET', RESULTS, id, text)
    told[#told + 1] = id
  elseif verb == 'bury' then
    bury(id, failed(id, text), now)
    told[#told + 1] = id
  else
    if verb == 'retry' then call('HSET', ATTEMPTS, id, failed(id, text)) end
    if verb == 'release' and deliveries > 1 then call('HSET', CLAIMS, id, ':' .. deliveries - 1 .. ':' .. int(due)) end
    local again = verb == 'release' and time == 0 and due or now + time
    call('ZADD', lane(call('HGET', JOBS, id) or ''), int(again), id)
    touch(again, before, now)
  end
end
if #told > 0 then
  call('PUBLISH', ENDED, table.concat(told, '\n'))
  trim(keep, kept, now)
end
return answer
