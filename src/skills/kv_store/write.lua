-- One write of kv_store, once per step: a step that is tried again finds its marker and gets the first result.
-- KEYS: the entry, the step's marker. ARGV: the marker's life in seconds, the operation, its arguments.
-- Answers the result as text; a refusal begins with '!', changes nothing and leaves no marker.
local entry, marker = KEYS[1], KEYS[2]
local recorded = redis.call('GET', marker)
if recorded then
  return recorded
end

local operation, first, ttl = ARGV[2], ARGV[3], ARGV[4]
local result

local function store(value)
  if ttl == '' then
    redis.call('SET', entry, value)
  else
    redis.call('SET', entry, value, 'EX', ttl)
  end
  return 1
end

if operation == 'set' then
  result = store(first)
elseif operation == 'cas' then
  -- ARGV[5]: 'absent', or 'present' and the expected text in ARGV[6].
  local current = redis.call('GET', entry)
  if (ARGV[5] == 'absent' and not current) or (ARGV[5] == 'present' and current == ARGV[6]) then
    result = store(first)
  else
    result = 0
  end
elseif operation == 'add' then
  local reply = redis.pcall('INCRBY', entry, first)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'integer') or string.find(reply.err, 'overflow') then
      return '!not_an_integer'
    end
    return reply
  end
  if ttl ~= '' and redis.call('TTL', entry) == -1 then
    redis.call('EXPIRE', entry, ttl)
  end
  -- Lua's numbers are floats: the exact value is the one that Redis holds.
  result = redis.call('GET', entry)
elseif operation == 'delete' then
  result = redis.call('DEL', entry)
elseif operation == 'expire' then
  result = redis.call('EXPIRE', entry, ttl)
end

redis.call('SET', marker, result, 'EX', ARGV[1])
return tostring(result)
