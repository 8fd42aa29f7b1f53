-- Counts one request in several buckets, in all of them or in none: each is a window of one minute that slides over two
-- fixed ones, of which the last counts by the part that the sliding window still covers.
-- KEYS: with one key more than there are buckets, first the entry that holds the first bucket's limit; then the buckets.
-- ARGV: now and the window's width in milliseconds, then each bucket's limit.
-- Answers the entry or -1, then of each bucket: whether it has room, its limit, what remains, milliseconds until there
-- is room again or the window ends. A refused request is counted nowhere.
local now, width = tonumber(ARGV[1]), tonumber(ARGV[2])
local buckets = #ARGV - 2
local before = #KEYS - buckets
local entry = -1
if before == 1 then
  entry = tonumber(redis.call('GET', KEYS[1]) or '') or -1
end

local states, room = {}, true
for i = 1, buckets do
  local limit = tonumber(ARGV[2 + i])
  if i == 1 and entry > 0 then
    limit = entry
  end
  local stored = redis.call('HMGET', KEYS[before + i], 'window', 'count', 'last')
  local window = math.floor(now / width)
  local opened, count, last = tonumber(stored[1]) or window, tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
  if opened < window then
    last = (opened == window - 1) and count or 0
    count = 0
  else
    -- A clock ahead of ours may have opened it.
    window = opened
  end
  local passed = math.max(0, now - window * width)
  local used = last * (width - passed) / width + count
  local state = {key = KEYS[before + i], window = window, count = count, last = last, limit = limit,
                 left = limit - used, passed = passed, fits = used + 1 <= limit}
  room = room and state.fits
  states[i] = state
end

local answer = {entry}
for _, s in ipairs(states) do
  local wait = width - s.passed
  if room then
    redis.call('HSET', s.key, 'window', s.window, 'count', s.count + 1, 'last', s.last)
    redis.call('PEXPIRE', s.key, 2 * width)
    s.left = s.left - 1
  elseif not s.fits then
    if s.count + 1 > s.limit then
      -- This window is full by itself: room comes in the next one, when this one counts little enough.
      wait = wait + width * (1 - (s.limit - 1) / s.count)
    else
      wait = width * (1 - (s.limit - 1 - s.count) / s.last) - s.passed
    end
  end
  answer[#answer + 1] = s.fits and 1 or 0
  answer[#answer + 1] = s.limit
  answer[#answer + 1] = math.max(0, math.floor(s.left))
  answer[#answer + 1] = math.ceil(math.max(1, wait))
end
return answer
