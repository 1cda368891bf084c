-- get: one job, whatever its state.
-- ARGV  1 id
-- Answers id, state, score, envelope, claims entry, attempts entry; or nothing when there is none. Never fails.
-- O(log N).
return describe(ARGV[1])
