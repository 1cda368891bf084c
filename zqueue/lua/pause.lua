-- pause: let nothing be claimed, or again.
-- ARGV  1 now, us ("" = server time)   2 "1" = pause, "" = resume
-- Answers 1. Never fails. O(1).
local now, pause = micros(ARGV[1]), ARGV[2] == '1'
if pause then
  call('SET', PAUSED, 1)
else
  call('DEL', PAUSED)
  nudge(now)
end
return 1
