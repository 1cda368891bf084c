-- settle: end runs of jobs; each item is fenced by its token.
-- ARGV  1 now, us ("" = server time)   2 keep dead, us   3 keep dead and done, count
--       4.. id, token, verb, time, text, id, token, verb, time, text ...
--       verb ack: it is done; kept for `time`, us, with its result `text`, or forgotten when that is 0;
--       retry: an attempt failed with the error `text`, due again after `time`, us;  snooze: due again after `time`, us,
--       no attempt spent;  bury: an attempt failed, among the dead with the error `text`;  release: give it back, no
--       delivery spent, due after `time`, us, or at its old due time when that is 0.
-- Answers now, then ok | gone | stolen for each. Never fails on data; more than 1,000 items fail before any write.
-- Publishes the ids of those that are kept done or buried, one a line, on the channel `ended`. O(n log N).
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

local acked, ended, freed, told, seen = {}, {}, {}, {}, {} -- ended: their claims entry goes
local entries = call('HMGET', CLAIMS, unpack(ids))
for n, id in ipairs(ids) do
  local at = FIRST + (n - 1) * WIDTH
  local token, verb, time, text = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
  local holder, deliveries, due = parse(entries[n])
  if not holder or holder == '' or seen[id] then
    answer[n + 1] = 'gone'
  elseif holder ~= token then
    answer[n + 1] = 'stolen'
  else
    answer[n + 1], seen[id] = 'ok', true
    freed[#freed + 1], ended[#ended + 1] = id, id
    if verb == 'ack' and time == 0 then
      acked[#acked + 1] = id
    elseif verb == 'ack' then
      call('ZREM', LEASED, id) -- a delete first, for a full server: see extend
      call('ZADD', DONE, int(now), id)
      call('HSET', RESULTS, id, text)
      ended[#ended] = nil
      call('HSET', CLAIMS, id, ':0:' .. int(now + time)) -- until when it is kept
      told[#told + 1] = id
    elseif verb == 'bury' then
      call('ZREM', LEASED, id)
      call('ZADD', DEAD, int(now), id)
      fail(id, text)
      told[#told + 1] = id
    elseif verb == 'release' then
      again(id, time > 0 and now + time or due)
      if deliveries > 1 then
        ended[#ended] = nil -- it keeps its entry, without a token
        call('HSET', CLAIMS, id, ':' .. deliveries - 1 .. ':' .. int(due))
      end
    else
      again(id, now + time)
      if verb == 'retry' then fail(id, text) end
    end
  end
end
if #ended > 0 then call('HDEL', CLAIMS, unpack(ended)) end
if #freed > 0 then call('HDEL', PROGRESS, unpack(freed)) end
if #acked > 0 then
  call('ZREM', LEASED, unpack(acked))
  call('HDEL', JOBS, unpack(acked))
  call('HDEL', ATTEMPTS, unpack(acked))
end
let_go(freed, now)
if #told > 0 then
  call('PUBLISH', ENDED, table.concat(told, '\n'))
  trim_dead(keep, kept, now)
  trim_done(kept, now)
end
return answer
