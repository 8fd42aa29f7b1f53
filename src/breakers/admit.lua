-- Asks for a lane to a provider at each gate on the way: no breaker may be open, and nowhere may all lanes be taken.
-- KEYS: of each gate the breaker (a hash) and the lanes (a sorted set of calls by the time they end at the latest).
-- ARGV: now (ms), the call, the time it ends at the latest (ms), how long a half-open probe may take (ms), and of each gate
-- how many lanes it has.
-- Answers {'open', ms to wait}, {'busy', 0} or {'admitted', 0}.
local now, call, ends, patience = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- Asked again because the answer was lost: it has its lanes, and whatever it probes.
if redis.call('ZSCORE', KEYS[2], call) then
  return {'admitted', 0}
end

local wait, probes = 0, {}
for gate = 1, #KEYS / 2 do
  local breaker = KEYS[2 * gate - 1]
  local open_until = tonumber(redis.call('HGET', breaker, 'open_until') or '0')
  if open_until > now then
    wait = math.max(wait, open_until - now)
  elseif open_until > 0 then
    -- Half open: one call may try; the others wait until it has said how it went, or for as long as it may take.
    local probing_until = tonumber(redis.call('HGET', breaker, 'probing_until') or '0')
    wait = math.max(wait, probing_until - now)
    probes[#probes + 1] = breaker
  end
end
if wait > 0 then
  return {'open', wait}
end

for gate = 1, #KEYS / 2 do
  local lanes = KEYS[2 * gate]
  redis.call('ZREMRANGEBYSCORE', lanes, '-inf', now)
  if redis.call('ZCARD', lanes) >= tonumber(ARGV[4 + gate]) then
    return {'busy', 0}
  end
end

for gate = 1, #KEYS / 2 do
  redis.call('ZADD', KEYS[2 * gate], ends, call)
  -- Longer than any call may take.
  redis.call('PEXPIRE', KEYS[2 * gate], 900000)
end
for _, breaker in ipairs(probes) do
  redis.call('HSET', breaker, 'probing_until', now + patience, 'probing_call', call)
end
return {'admitted', 0}
