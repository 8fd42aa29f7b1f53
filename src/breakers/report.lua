-- Says how a call of a provider went, and gives its lanes back.
-- KEYS: as for its admission, of each gate the breaker and the lanes. ARGV: now (ms), the call, its tenant,
-- 'well' | 'sick' | 'neither', failures that open a breaker, the window in which they count (ms), how long it stays open the
-- first time and at most (ms), and of each gate how many failures of one tenant count.
-- Answers the number of the last gate whose breaker this call opened, or 0.
local now, call, tenant, health = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local most, window, first, longest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

-- Whether the breaker is to open for a failure while it is closed.
local function is_enough(breaker, most_of_one)
  local since = tonumber(redis.call('HGET', breaker, 'since') or '0')
  if now - since > window then
    redis.call('DEL', breaker)
    redis.call('HSET', breaker, 'since', now)
    redis.call('PEXPIRE', breaker, window * 2)
  end
  if redis.call('HINCRBY', breaker, 'of:' .. tenant, 1) > most_of_one then
    return false
  end
  return redis.call('HINCRBY', breaker, 'failures', 1) >= most
end

-- Whether this call opens the breaker.
local function opens(breaker, most_of_one)
  local is_probe = redis.call('HGET', breaker, 'probing_call') == call
  if health == 'neither' then
    if is_probe then
      -- It tells nothing about the provider: the next one may probe.
      redis.call('HDEL', breaker, 'probing_until', 'probing_call')
    end
    return false
  end
  local open_until = tonumber(redis.call('HGET', breaker, 'open_until') or '0')
  if open_until > now then
    -- A call that began before it opened.
    return false
  end
  if health == 'well' then
    redis.call('DEL', breaker)
    return false
  end
  if open_until > 0 then
    -- Half open: the failure of a call that began before it opened says nothing new.
    return is_probe
  end
  return is_enough(breaker, most_of_one)
end

local opened = 0
for gate = 1, #KEYS / 2 do
  local breaker = KEYS[2 * gate - 1]
  redis.call('ZREM', KEYS[2 * gate], call)
  if opens(breaker, tonumber(ARGV[8 + gate])) then
    -- Each probe that fails doubles the wait.
    local before = tonumber(redis.call('HGET', breaker, 'opened') or '0')
    redis.call('HSET', breaker, 'open_until', now + math.min(first * 2 ^ before, longest), 'opened', before + 1)
    redis.call('HDEL', breaker, 'probing_until', 'probing_call')
    redis.call('PEXPIRE', breaker, window + longest * 2)
    opened = gate
  end
end
return opened
