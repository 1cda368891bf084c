-- extend: renew the leases one worker still holds.
-- ARGV  1 now, us ("" = server time)   2 lease, us   3.. id, token, id, token ...
-- Answers ok | gone | stolen for each. Never fails on data; more than 1,000 pairs fail before any write. O(n log N).
local now, lease = micros(ARGV[1]), tonumber(ARGV[2])
local FIRST, WIDTH = 3, 2
local answer = {}
if #ARGV > FIRST - 1 + MOST * WIDTH then return redis.error_reply('ERR zqueue: more than 1000 leases in one call') end
local ids = {}
for at = FIRST, #ARGV, WIDTH do ids[#ids + 1] = ARGV[at] end
if #ids == 0 then return answer end

-- A server out of memory lets a script write that has begun with a delete: no lease shall end because memory has.
call('ZREM', WORKERS, '')

local entries, renewed = call('HMGET', CLAIMS, unpack(ids)), {}
for n, id in ipairs(ids) do
  local token = ARGV[FIRST + (n - 1) * WIDTH + 1]
  local holder = parse(entries[n])
  if not holder or holder == '' then
    answer[n] = 'gone'
  elseif holder ~= token then
    answer[n] = 'stolen'
  else
    answer[n] = 'ok'
    renewed[#renewed + 1], renewed[#renewed + 2] = int(now + lease), id
  end
end
if #renewed > 0 then call('ZADD', LEASED, 'XX', unpack(renewed)) end
return answer
