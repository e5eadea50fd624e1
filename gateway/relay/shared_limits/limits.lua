-- All of a caller's limits at once: taken together or not at all. The same windows as gateway/ledger/service/rate_limits.py, by this server's clock.
--
-- KEYS: the exchange, then seven for each subject (a key, a tenant):
--   minute: order (exchange by ms) and amounts (tokens by exchange), pictures: the same, day: order and amounts by minute,
--   running (exchange by the end of its lease). The field # of amounts is their sum.
-- ARGV: verb, exchange, a minute's ms, a lease's ms, then what the verb needs, then five values for each subject, -1 for none:
--   requests and tokens a minute, tokens a day, pictures a minute, at once.
-- Answer: verdict (1 taken, 0 refused), then of a refusal subject, limit, value, remaining, reset ms, else zeros; then the same five
-- numbers for each limit that is set.

local verb, exchange = ARGV[1], ARGV[2]
local MINUTE, LEASE = tonumber(ARGV[3]), tonumber(ARGV[4])
local DAY = 1440 * MINUTE
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Written out whole, and never as -0, which is no integer to the server.
local function int(number) return number == 0 and '0' or string.format('%.0f', number) end
local function sum(window) return tonumber(redis.call('HGET', window.amounts, '#') or 0) end

-- What is counted: uses for requests, else amounts.
local function used(window, requests)
  return requests and redis.call('ZCARD', window.order) or sum(window)
end

local function add(window, member, amount)
  redis.call('HINCRBY', window.amounts, member, int(amount))
  redis.call('HINCRBY', window.amounts, '#', int(amount))
end

local function drop(window, members)
  local gone = 0
  for _, amount in ipairs(redis.call('HMGET', window.amounts, unpack(members))) do gone = gone + tonumber(amount or 0) end
  redis.call('HDEL', window.amounts, unpack(members))
  redis.call('HINCRBY', window.amounts, '#', int(-gone))
  redis.call('ZREM', window.order, unpack(members))
  if redis.call('EXISTS', window.order) == 0 then redis.call('DEL', window.amounts) end
end

local function forget(window)
  local edge = int(now - window.span - (window.grain - 1))
  while true do
    local old = redis.call('ZRANGEBYSCORE', window.order, '-inf', edge, 'LIMIT', 0, 500)
    if #old == 0 then return end
    drop(window, old)
  end
end

-- Ms until so many more would fit; the whole span if they never do.
local function until_free(window, requests, more, value)
  if more > value then return window.span end
  local over, at = used(window, requests) + more - value, 0
  while over > 0 do
    local uses = redis.call('ZRANGE', window.order, at, at + 99, 'WITHSCORES')
    if #uses == 0 then return 0 end
    for i = 1, #uses, 2 do
      over = over - (requests and 1 or tonumber(redis.call('HGET', window.amounts, uses[i]) or 0))
      if over <= 0 then return math.max(1, tonumber(uses[i + 1]) + window.span + window.grain - 1 - now) end
    end
    at = at + 100
  end
  return 0
end

local function last(window)
  return tonumber(redis.call('ZRANGE', window.order, -1, -1, 'WITHSCORES')[2] or 0)
end

local function until_whole(window)
  local at = last(window)
  return at == 0 and 0 or math.max(0, at + window.span + window.grain - 1 - now)
end

local subjects = {}
for first = 2, #KEYS, 7 do
  local subject = {
    minute = {order = KEYS[first], amounts = KEYS[first + 1], span = MINUTE, grain = 1},
    pictures = {order = KEYS[first + 2], amounts = KEYS[first + 3], span = MINUTE, grain = 1},
    day = {order = KEYS[first + 4], amounts = KEYS[first + 5], span = DAY, grain = MINUTE},
    running = KEYS[first + 6],
  }
  for _, window in ipairs({subject.minute, subject.pictures, subject.day}) do forget(window) end
  redis.call('ZREMRANGEBYSCORE', subject.running, '-inf', int(now))
  subjects[#subjects + 1] = subject
end

-- The limits of a subject in their order: value, window, whether requests are counted.
local function limits(number, from)
  local subject, found = subjects[number], {}
  local windows = {{subject.minute, true}, {subject.minute}, {subject.day}, {subject.pictures}}
  for at = 1, 4 do
    local value = tonumber(ARGV[from + at - 1])
    if value >= 0 then found[#found + 1] = {at, value, windows[at][1], windows[at][2]} end
  end
  return found, tonumber(ARGV[from + 4])
end

local function left(answer, from)
  for number, subject in ipairs(subjects) do
    local found, at_once = limits(number, from + 5 * (number - 1))
    for _, limit in ipairs(found) do
      local remaining = math.max(0, limit[2] - used(limit[3], limit[4]))
      for _, value in ipairs({number, limit[1], limit[2], remaining, until_whole(limit[3])}) do answer[#answer + 1] = value end
    end
    if at_once >= 0 then
      local remaining = math.max(0, at_once - redis.call('ZCARD', subject.running))
      for _, value in ipairs({number, 5, at_once, remaining, 0}) do answer[#answer + 1] = value end
    end
  end
  return answer
end

local function worst(tokens, pictures, from)
  local found_worst
  for number, subject in ipairs(subjects) do
    local own
    local found, at_once = limits(number, from + 5 * (number - 1))
    local amounts = {1, tokens, tokens, pictures}
    for _, limit in ipairs(found) do
      local more, taken = amounts[limit[1]], used(limit[3], limit[4])
      if more > 0 and taken + more > limit[2] then
        local reset = until_free(limit[3], limit[4], more, limit[2])
        if not own or reset > own[5] then own = {number, limit[1], limit[2], math.max(0, limit[2] - taken), reset} end
      end
    end
    -- Nobody knows when a running exchange ends; a second is when to ask again.
    if not own and at_once >= 0 and redis.call('ZCARD', subject.running) >= at_once then own = {number, 5, at_once, 0, 1000} end
    if own and (not found_worst or own[5] > found_worst[5]) then found_worst = own end
  end
  return found_worst
end

-- Where a window's use is put: never before one that is there, also when the clock stepped back.
local function moment(window) return math.max(now - now % window.grain, last(window)) end

if verb == 'take' then
  local tokens, pictures = tonumber(ARGV[5]), tonumber(ARGV[6])
  if redis.call('EXISTS', KEYS[1]) == 1 then return left({1, 0, 0, 0, 0, 0}, 7) end
  local over = worst(tokens, pictures, 7)
  if over then return left({0, unpack(over)}, 7) end
  for number, subject in ipairs(subjects) do
    redis.call('ZADD', subject.minute.order, int(moment(subject.minute)), exchange)
    add(subject.minute, exchange, tokens)
    if pictures > 0 then
      redis.call('ZADD', subject.pictures.order, int(moment(subject.pictures)), exchange)
      add(subject.pictures, exchange, pictures)
    end
    local day = int(moment(subject.day))
    redis.call('ZADD', subject.day.order, day, day)
    add(subject.day, day, tokens)
    redis.call('HSET', KEYS[1], number, day)
    redis.call('ZADD', subject.running, int(now + LEASE), exchange)
    -- Forgotten by the server when nothing of it can count any more.
    for _, window in ipairs({subject.minute, subject.pictures, subject.day}) do
      redis.call('PEXPIRE', window.order, int(window.span + window.grain))
      redis.call('PEXPIRE', window.amounts, int(window.span + window.grain))
    end
    redis.call('PEXPIRE', subject.running, int(LEASE))
  end
  redis.call('HSET', KEYS[1], 'tokens', int(tokens))
  redis.call('PEXPIRE', KEYS[1], int(DAY))
  return left({1, 0, 0, 0, 0, 0}, 7)
end

if verb == 'settle' then
  -- ARGV 5: tokens really used, -1 for as many as were reserved; 6: 1 if it never ran, so that nothing was used.
  local really, refused = tonumber(ARGV[5]), ARGV[6] == '1'
  local tokens = tonumber(redis.call('HGET', KEYS[1], 'tokens') or -1)
  if tokens >= 0 then
    local more = refused and -tokens or (really >= 0 and really - tokens or 0)
    for number, subject in ipairs(subjects) do
      redis.call('ZREM', subject.running, exchange)
      local day = redis.call('HGET', KEYS[1], number)
      if redis.call('HEXISTS', subject.minute.amounts, exchange) == 1 then add(subject.minute, exchange, more) end
      if day and redis.call('HEXISTS', subject.day.amounts, day) == 1 then add(subject.day, day, more) end
      if refused then
        drop(subject.minute, {exchange})
        drop(subject.pictures, {exchange})
      end
    end
    redis.call('DEL', KEYS[1])
  end
  return left({1, 0, 0, 0, 0, 0}, 7)
end

-- renew: the exchanges from ARGV 5 on still run. KEYS[1] is no exchange here but the first subject's running ones.
for at = 5, #ARGV do redis.call('ZADD', KEYS[1], 'XX', int(now + LEASE), ARGV[at]) end
redis.call('PEXPIRE', KEYS[1], int(LEASE))
return {1}
