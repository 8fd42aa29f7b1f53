-- Says how a call of a provider went, and gives its lane back.
-- KEYS: the breaker, the lanes. ARGV: now (ms), the call, 'well' | 'sick' | 'neither', failures that open the breaker,
-- the window in which they count (ms), how long it stays open the first time and at most (ms).
-- Answers 'opened' if this call opened it, else 'kept'.
local breaker, lanes = KEYS[1], KEYS[2]
local now, call, health = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local most, window, first, longest = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

redis.call('ZREM', lanes, call)
if health == 'neither' then
  -- It tells nothing about the provider: the next one may probe.
  redis.call('HDEL', breaker, 'probing_until')
  return 'kept'
end
local open_until = tonumber(redis.call('HGET', breaker, 'open_until') or '0')
if open_until > now then
  -- A call that began before it opened.
  return 'kept'
end
if health == 'well' then
  redis.call('DEL', breaker)
  return 'kept'
end
local since = tonumber(redis.call('HGET', breaker, 'since') or '0')
local failures = tonumber(redis.call('HGET', breaker, 'failures') or '0')
if now - since > window then
  since, failures = now, 0
  redis.call('HSET', breaker, 'since', now)
end
failures = failures + 1
redis.call('HSET', breaker, 'failures', failures)

local result = 'kept'
if open_until > 0 or failures >= most then
  -- Each probe that fails doubles the wait.
  local opened = tonumber(redis.call('HGET', breaker, 'opened') or '0')
  local wait = math.min(first * 2 ^ opened, longest)
  redis.call('HSET', breaker, 'open_until', now + wait, 'opened', opened + 1)
  redis.call('HDEL', breaker, 'probing_until')
  result = 'opened'
end
redis.call('PEXPIRE', breaker, window + longest * 2)
return result
