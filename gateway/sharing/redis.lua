-- What several gateways share, kept in Redis 6.2 or newer. One call of a gateway is one run: nothing comes in between.
-- KEYS[1]: what all names begin with. ARGV: what is asked, gateway, process, turn of the call, the rest as JSON.
-- Lua's numbers are exact to 2^53 only: an amount is {billions, rest}, with 0 <= rest < 10^9; so is a moment, in ns.

local BILLION = 1000000000
local prefix, what, me, process, turn = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local asked = cjson.decode(ARGV[5])
local clock = redis.call('TIME')
local now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local function carried(high, low)
    local over = math.floor(low / BILLION)
    return {high + over, low - over * BILLION}
end
local function plus(a, b) return carried(a[1] + b[1], a[2] + b[2]) end
local function minus(a, b) return carried(a[1] - b[1], a[2] - b[2]) end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function divided(a, by)
    local high = math.floor(a[1] / by)
    return carried(high, math.floor(((a[1] - high * by) * BILLION + a[2]) / by))
end
local function same(a, b) return a[1] == b[1] and a[2] == b[2] end
local ZERO = {0, 0}

local EPOCH, GATEWAYS, CHANGED, ENDS, SEQUENCE =
    prefix .. 'epoch', prefix .. 'gateways', prefix .. 'changed', prefix .. 'ends', prefix .. 'sequence'

local function gateway(name)
    local found = redis.call('HGET', GATEWAYS, name)
    return found and cjson.decode(found) or nil
end
local function heard() redis.call('HSET', GATEWAYS, me, cjson.encode({process, turn, now_us})) end

if what == 'last_turn' then
    local found = gateway(me)
    return cjson.encode(found and found[2] or 0)
end
local known = gateway(me)
if what == 'begin' then
    if known and known[2] >= turn then return 'superseded' end
elseif not known then
    return 'forgotten'
elseif known[1] ~= process then
    return 'superseded'
elseif known[2] >= turn then
    return 'forgotten'
end
heard()

-- A counter is a hash: a field for each unit, window and gateway, and its name. A share: taken, used, slack, the
-- window's end, its rolling length, and from when on it counts with nothing.
local function counter_key(id) return prefix .. 'counter:' .. id end
local function field(unit, start, name) return cjson.encode({unit, start[1], start[2], name}) end

local function touched(id, past)
    redis.call('ZADD', CHANGED, redis.call('INCR', SEQUENCE), id)
    if past then redis.call('ZADD', ENDS, 'GT', past[1], id) end
end

local function put(row, change)
    -- row: id, name, unit, start, end, rolling, past, amount
    local key, place = counter_key(row[1]), field(row[3], row[4], me)
    local found = redis.call('HGET', key, place)
    local share = found and cjson.decode(found) or {ZERO, ZERO, false, row[5], row[6], row[7]}
    change(share, row[8])
    redis.call('HSET', key, place, cjson.encode(share))
    if not found then redis.call('HSETNX', key, 'name', row[2]) end
    touched(row[1], row[7])
end
local function set_taken(share, amount) share[1] = less(amount, ZERO) and ZERO or amount end

local function shares(id)
    local flat, found = redis.call('HGETALL', counter_key(id)), {}
    for i = 1, #flat, 2 do
        if flat[i] ~= 'name' then found[#found + 1] = {cjson.decode(flat[i]), cjson.decode(flat[i + 1]), flat[i]} end
    end
    return found
end

local function begin()
    local lends_us = 0
    if redis.call('SET', EPOCH, string.format('%.0f', now_us), 'NX') then lends_us = asked.hello_us end
    local left = tonumber(redis.call('GET', EPOCH)) + asked.hello_us - now_us
    if left > 0 then lends_us = left end
    for _, id in ipairs(redis.call('ZRANGE', CHANGED, 0, -1)) do
        for _, one in ipairs(shares(id)) do
            if one[1][4] == me then
                redis.call('HDEL', counter_key(id), one[3])
                touched(id)
            end
        end
    end
    for _, row in ipairs(asked.rows) do
        put(row, function(share, amount)
            set_taken(share, amount)
            share[3] = less(ZERO, amount)
        end)
    end
    return string.format('%.0f', lends_us)
end

local function living()
    local found, flat = {}, redis.call('HGETALL', GATEWAYS)
    local number = 0
    for i = 1, #flat, 2 do
        if flat[i] == me or now_us - cjson.decode(flat[i + 1])[3] < asked.alive_us then
            found[flat[i]] = true
            number = number + 1
        end
    end
    return found, number
end

local function ask()
    if now_us - tonumber(redis.call('GET', EPOCH) or now_us) < asked.hello_us then return 'hello' end
    local lives, number = living()
    local answers = {}
    for _, one in ipairs(asked.asks) do
        local row, least, limit, lasting = one[1], one[2], one[3], one[4]
        local id, unit, start, past = row[1], row[3], row[4], row[7]
        local rolls = not same(row[6], ZERO)
        local total, elsewhere = ZERO, false
        for _, other in ipairs(shares(id)) do
            local place, share = other[1], other[2]
            local begins = {place[2], place[3]}
            if place[1] == unit and (same(begins, start)
                    or (rolls and less(begins, past) and less(start, share[6]))) then
                total = plus(total, share[1])
            end
            if share[3] and place[4] ~= me and lives[place[4]] then elsewhere = true end
            if rolls and less(plus(share[6], asked.kept), start) then
                redis.call('HDEL', counter_key(id), other[3])
            end
        end
        local amount, left = ZERO, minus(limit, total)
        if not less(left, least) then
            amount = least
            local more = divided(minus(minus(less(lasting, limit) and lasting or limit, total), least), asked.share * number)
            if less(ZERO, more) and not less(more, least) then amount = plus(least, more) end
        end
        if less(ZERO, amount) then
            row[8] = amount
            put(row, function(share, lent)
                share[1] = plus(share[1], lent)
                share[3] = share[3] or less(least, lent)
            end)
        end
        answers[#answers + 1] = {amount, minus(left, amount), elsewhere}
    end
    return cjson.encode(answers)
end

local function set()
    for _, row in ipairs(asked.rows) do put(row, set_taken) end
    return '[]'
end

local function loosened()
    for _, id in ipairs(asked.counters) do
        for _, one in ipairs(shares(id)) do
            if one[1][4] == me and one[2][3] then
                one[2][3] = false
                redis.call('HSET', counter_key(id), one[3], cjson.encode(one[2]))
            end
        end
    end
    return '[]'
end

local function alive()
    for _, row in ipairs(asked.rows) do
        put(row, function(share, amount) share[2] = amount end)
    end
    return '[]'
end

local function others()
    -- so many counters at a time: nobody waits long for this
    local found = redis.call('ZRANGEBYSCORE', CHANGED, '(' .. asked.since, '+inf', 'WITHSCORES', 'LIMIT', 0, asked.most)
    local answers, last = {}, asked.since
    for i = 1, #found, 2 do
        local id, sums = found[i], {}
        last = found[i + 1]
        for _, one in ipairs(shares(id)) do
            local place, share = one[1], one[2]
            if place[4] ~= me then
                local key = cjson.encode({place[1], place[2], place[3]})
                local sum = sums[key] or {place[1], {place[2], place[3]}, share[4], share[5], ZERO, ZERO}
                sum[5], sum[6] = plus(sum[5], share[2]), plus(sum[6], share[1])
                sums[key] = sum
            end
        end
        local name = redis.call('HGET', counter_key(id), 'name')
        for _, sum in pairs(sums) do answers[#answers + 1] = {name, sum} end
    end
    return cjson.encode({last, #found / 2, answers})
end

local function tidy()
    local past = asked.past
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', '(' .. past[1])) do
        redis.call('DEL', counter_key(id))
        redis.call('ZREM', ENDS, id)
        redis.call('ZREM', CHANGED, id)
    end
    for _, id in ipairs(redis.call('ZRANGE', CHANGED, 0, -1)) do
        for _, one in ipairs(shares(id)) do
            if less(one[2][6], past) then redis.call('HDEL', counter_key(id), one[3]) end
        end
    end
    local flat = redis.call('HGETALL', GATEWAYS)
    for i = 1, #flat, 2 do
        if now_us - cjson.decode(flat[i + 1])[3] > asked.gone_us then redis.call('HDEL', GATEWAYS, flat[i]) end
    end
    return '[]'
end

local calls = {begin = begin, ask = ask, set = set, loosened = loosened, alive = alive, others = others, tidy = tidy}
return calls[what]()
