-- Asks for a lane to a provider: its breaker must not be open, and not all of its lanes may be taken.
-- KEYS: the breaker (a hash), the lanes (a sorted set of calls by the time they end at the latest).
-- ARGV: now (ms), the call, the time it ends at the latest (ms), lanes, how long a half-open probe may take (ms).
-- Answers {'open', ms to wait}, {'busy', 0}, {'probe', 0} or {'closed', 0}.
local breaker, lanes = KEYS[1], KEYS[2]
local now, call, ends, most, patience = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local verdict = 'closed'
local open_until = tonumber(redis.call('HGET', breaker, 'open_until') or '0')
if open_until > now then
  return {'open', open_until - now}
end
if open_until > 0 then
  -- Half open: one call may try; the others wait until it has said how it went, or for as long as it may take.
  local probing_until = tonumber(redis.call('HGET', breaker, 'probing_until') or '0')
  if probing_until > now then
    return {'open', probing_until - now}
  end
  verdict = 'probe'
end

redis.call('ZREMRANGEBYSCORE', lanes, '-inf', now)
if redis.call('ZCARD', lanes) >= most then
  return {'busy', 0}
end
redis.call('ZADD', lanes, ends, call)
-- Longer than any call may take.
redis.call('PEXPIRE', lanes, 900000)
if verdict == 'probe' then
  redis.call('HSET', breaker, 'probing_until', now + patience)
end
return {verdict, 0}
