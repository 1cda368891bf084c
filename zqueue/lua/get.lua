-- get: one job, whatever its state.
-- ARGV  1 id
-- Answers id, state, score, envelope, claims entry, attempts entry, progress, result; or nothing when there is none.
-- The state is scheduled, parked, leased, done or dead; a parked job's score is its due time. Never fails. O(log N).
return describe(ARGV[1])
