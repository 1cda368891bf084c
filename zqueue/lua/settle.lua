-- settle: end runs of jobs; each item is fenced by its token.
-- ARGV  1 now, us ("" = server time)   2 keep dead, us   3 keep dead, count   4.. id, token, verb, delay, error ...
--       verb ack: forget it;  retry: an attempt failed, due again after delay, us;  snooze: the same, no attempt spent;
--       bury: an attempt failed, among the dead with error;  release: give it back, no delivery spent, at its old due
--       time when delay is 0.
-- Answers now, then ok | gone | stolen for each. Never fails on data; more than 1,000 items fail before any write.
-- O(n log N).
local now, keep, kept = micros(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local FIRST, WIDTH = 4, 5
local answer = {int(now)}
if #ARGV > FIRST - 1 + MOST * WIDTH then return redis.error_reply('ERR zqueue: more than 1000 items in one call') end
local ids = {}
for at = FIRST, #ARGV, WIDTH do ids[#ids + 1] = ARGV[at] end
if #ids == 0 then return answer end

local before -- the head before the first job went back into a lane
local function again(id, due)
  before = before or head()
  call('ZREM', LEASED, id)
  call('ZADD', lane(call('HGET', JOBS, id) or ''), int(due), id)
  touch(due, before, now)
end

local function fail(id, failed)
  call('HSET', ATTEMPTS, id, failures(call('HGET', ATTEMPTS, id)) + 1 .. ':' .. failed)
end

local acked, ended, seen, buried = {}, {}, {}, false
local entries = call('HMGET', CLAIMS, unpack(ids))
for n, id in ipairs(ids) do
  local at = FIRST + (n - 1) * WIDTH
  local token, verb, delay, failed = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
  local holder, deliveries, due = parse(entries[n])
  if not holder or holder == '' or seen[id] then
    answer[n + 1] = 'gone'
  elseif holder ~= token then
    answer[n + 1] = 'stolen'
  else
    answer[n + 1], seen[id] = 'ok', true
    ended[#ended + 1] = id
    if verb == 'ack' then
      acked[#acked + 1] = id
    elseif verb == 'bury' then
      call('ZREM', LEASED, id) -- a delete first, for a full server: see extend
      call('ZADD', DEAD, int(now), id)
      fail(id, failed)
      buried = true
    elseif verb == 'release' then
      again(id, delay > 0 and now + delay or due)
      if deliveries > 1 then
        ended[#ended] = nil -- it keeps its entry, without a token
        call('HSET', CLAIMS, id, ':' .. deliveries - 1 .. ':' .. int(due))
      end
    else
      again(id, now + delay)
      if verb == 'retry' then fail(id, failed) end
    end
  end
end
if #ended > 0 then call('HDEL', CLAIMS, unpack(ended)) end
if #acked > 0 then
  call('ZREM', LEASED, unpack(acked))
  call('HDEL', JOBS, unpack(acked))
  call('HDEL', ATTEMPTS, unpack(acked))
end
if buried then trim(keep, kept, now) end
return answer
