-- progress: keep what a running job says of itself, fenced by its token.
-- ARGV  1 id   2 token   3 value, JSON
-- Answers ok | gone | stolen. Never fails on data. O(1).
local id, token, value = ARGV[1], ARGV[2], ARGV[3]
local holder = parse(call('HGET', CLAIMS, id))
if not holder or holder == '' then return 'gone' end
if holder ~= token then return 'stolen' end
call('HSET', PROGRESS, id, value)
return 'ok'
