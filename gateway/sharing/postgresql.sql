-- What several gateways share, kept in PostgreSQL 13 or newer. "spendgate" stands for the schema's name.
-- Each call of a gateway is one function: one statement, one transaction, one way there and back.

CREATE TABLE IF NOT EXISTS "spendgate".version (number integer PRIMARY KEY);

CREATE TABLE IF NOT EXISTS "spendgate".gateways (
    name text PRIMARY KEY,
    process text NOT NULL,
    turn bigint NOT NULL,           -- of its last call: one that comes late, of which nobody waits for the answer, is not done
    heard timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS "spendgate".taken (
    counter bytea NOT NULL,         -- SHA-256 of rule and bucket: a bucket may be longer than an index takes
    unit integer NOT NULL,
    start_ns bigint NOT NULL,
    gateway text NOT NULL,
    end_ns bigint NOT NULL,
    rolling_ns bigint NOT NULL,
    past_ns bigint NOT NULL,        -- end_ns + rolling_ns
    rule bytea NOT NULL,            -- UTF-8: text can't hold what callers may send
    bucket bytea NOT NULL,
    taken numeric NOT NULL DEFAULT 0,
    used numeric NOT NULL DEFAULT 0,
    slack boolean NOT NULL DEFAULT false,
    changed bigint NOT NULL,        -- the transaction that changed it last
    PRIMARY KEY (counter, unit, start_ns, gateway)
);
CREATE INDEX IF NOT EXISTS taken_changed ON "spendgate".taken (changed);
CREATE INDEX IF NOT EXISTS taken_gateway ON "spendgate".taken (gateway);

CREATE OR REPLACE FUNCTION "spendgate".this_change() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT pg_current_xact_id()::text::bigint
$$;

-- Raises unless this process speaks for the gateway, and this call follows its last; other calls of it wait.
CREATE OR REPLACE FUNCTION "spendgate".known(me text, my_process text, my_turn bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE "spendgate".gateways SET turn = my_turn, heard = clock_timestamp()
        WHERE name = me AND process = my_process AND turn < my_turn;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM "spendgate".gateways WHERE name = me AND process <> my_process;
    IF FOUND THEN
        RAISE EXCEPTION 'superseded' USING ERRCODE = 'SG002';
    END IF;
    RAISE EXCEPTION 'forgotten' USING ERRCODE = 'SG001';
END
$$;

CREATE OR REPLACE FUNCTION "spendgate".last_turn(me text) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce((SELECT turn FROM "spendgate".gateways WHERE name = me), 0)
$$;

CREATE OR REPLACE FUNCTION "spendgate".begin(
    me text, my_process text, my_turn bigint, counters bytea[], rules bytea[], buckets bytea[], units integer[],
    starts bigint[], ends bigint[], rollings bigint[], pasts bigint[], amounts numeric[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO "spendgate".gateways AS g VALUES (me, my_process, my_turn, clock_timestamp())
        ON CONFLICT (name) DO UPDATE SET process = my_process, turn = my_turn, heard = clock_timestamp()
        WHERE g.turn < my_turn;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'superseded' USING ERRCODE = 'SG002';
    END IF;
    UPDATE "spendgate".taken AS t SET taken = 0, used = 0, slack = false, changed = "spendgate".this_change()
        WHERE t.gateway = me AND (t.taken <> 0 OR t.used <> 0 OR t.slack) AND NOT EXISTS (
            SELECT FROM unnest(counters, units, starts) AS n (counter, unit, start_ns)
            WHERE n.counter = t.counter AND n.unit = t.unit AND n.start_ns = t.start_ns);
    -- it may have slack of all that it has taken: who asks it in vain has lost a moment, who does not ask is refused
    INSERT INTO "spendgate".taken AS t (
            counter, rule, bucket, unit, start_ns, end_ns, rolling_ns, past_ns, gateway, taken, slack, changed)
        SELECT n.counter, n.rule, n.bucket, n.unit, n.start_ns, n.end_ns, n.rolling_ns, n.past_ns,
                me, greatest(n.amount, 0), n.amount > 0, "spendgate".this_change()
            FROM unnest(counters, rules, buckets, units, starts, ends, rollings, pasts, amounts)
                AS n (counter, rule, bucket, unit, start_ns, end_ns, rolling_ns, past_ns, amount)
        ON CONFLICT (counter, unit, start_ns, gateway) DO UPDATE SET
            taken = excluded.taken, slack = excluded.slack, changed = excluded.changed,
            end_ns = excluded.end_ns, rolling_ns = excluded.rolling_ns, past_ns = excluded.past_ns;
END
$$;

-- Locks come first and in one order, each statement sees what was committed before it: of two gateways that ask for one
-- counter the second one sees what the first was lent. Changes need no lock: they ask nobody.
CREATE OR REPLACE FUNCTION "spendgate".ask(
    me text, my_process text, my_turn bigint, locks bigint[], counters bytea[], rules bytea[], buckets bytea[],
    units integer[], starts bigint[], ends bigint[], rollings bigint[], pasts bigint[],
    leasts bigint[], limits bigint[], lastings bigint[], share integer, alive double precision
) RETURNS TABLE (amount numeric, free numeric, elsewhere boolean) LANGUAGE plpgsql AS $$
DECLARE
    lock bigint;
    living text[];
    total numeric;
    more numeric;
BEGIN
    PERFORM "spendgate".known(me, my_process, my_turn);
    FOREACH lock IN ARRAY locks LOOP
        PERFORM pg_advisory_xact_lock(lock);
    END LOOP;
    SELECT coalesce(array_agg(g.name), '{}') INTO living FROM "spendgate".gateways AS g
        WHERE g.name <> me AND g.heard > clock_timestamp() - make_interval(secs => alive);
    FOR i IN 1 .. cardinality(counters) LOOP
        SELECT coalesce(sum(t.taken) FILTER (WHERE t.unit = units[i] AND (t.start_ns = starts[i]
                    OR (rollings[i] > 0 AND t.start_ns < pasts[i] AND t.past_ns > starts[i]))), 0),
                coalesce(bool_or(t.slack AND t.gateway = ANY (living)), false)
            INTO total, elsewhere FROM "spendgate".taken AS t WHERE t.counter = counters[i];
        amount := 0;
        IF total + leasts[i] <= limits[i] THEN
            more := div(least(lastings[i], limits[i]) - total - leasts[i], share * (cardinality(living) + 1));
            amount := leasts[i] + CASE WHEN more > 0 AND more >= leasts[i] THEN more ELSE 0 END;
        END IF;
        free := limits[i] - total - amount;
        IF amount > 0 THEN
            INSERT INTO "spendgate".taken AS t (
                    counter, rule, bucket, unit, start_ns, end_ns, rolling_ns, past_ns, gateway, taken, slack, changed)
                VALUES (counters[i], rules[i], buckets[i], units[i], starts[i], ends[i], rollings[i], pasts[i],
                    me, amount, amount > leasts[i], "spendgate".this_change())
                ON CONFLICT (counter, unit, start_ns, gateway) DO UPDATE SET
                    taken = t.taken + excluded.taken, slack = t.slack OR excluded.slack, changed = excluded.changed;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION "spendgate".set(
    me text, my_process text, my_turn bigint, counters bytea[], rules bytea[], buckets bytea[], units integer[],
    starts bigint[], ends bigint[], rollings bigint[], pasts bigint[], amounts numeric[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM "spendgate".known(me, my_process, my_turn);
    INSERT INTO "spendgate".taken AS t (
            counter, rule, bucket, unit, start_ns, end_ns, rolling_ns, past_ns, gateway, taken, changed)
        SELECT n.counter, n.rule, n.bucket, n.unit, n.start_ns, n.end_ns, n.rolling_ns, n.past_ns,
                me, greatest(n.amount, 0), "spendgate".this_change()
            FROM unnest(counters, rules, buckets, units, starts, ends, rollings, pasts, amounts)
                AS n (counter, rule, bucket, unit, start_ns, end_ns, rolling_ns, past_ns, amount)
        ON CONFLICT (counter, unit, start_ns, gateway) DO UPDATE SET
            taken = excluded.taken, changed = excluded.changed;
END
$$;

CREATE OR REPLACE FUNCTION "spendgate".loosened(me text, my_process text, my_turn bigint, counters bytea[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM "spendgate".known(me, my_process, my_turn);
    UPDATE "spendgate".taken AS t SET slack = false WHERE t.counter = ANY (counters) AND t.gateway = me AND t.slack;
END
$$;

CREATE OR REPLACE FUNCTION "spendgate".alive(
    me text, my_process text, my_turn bigint, counters bytea[], rules bytea[], buckets bytea[], units integer[],
    starts bigint[], ends bigint[], rollings bigint[], pasts bigint[], amounts numeric[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM "spendgate".known(me, my_process, my_turn);
    INSERT INTO "spendgate".taken AS t (
            counter, rule, bucket, unit, start_ns, end_ns, rolling_ns, past_ns, gateway, used, changed)
        SELECT n.counter, n.rule, n.bucket, n.unit, n.start_ns, n.end_ns, n.rolling_ns, n.past_ns,
                me, n.amount, "spendgate".this_change()
            FROM unnest(counters, rules, buckets, units, starts, ends, rollings, pasts, amounts)
                AS n (counter, rule, bucket, unit, start_ns, end_ns, rolling_ns, past_ns, amount)
        ON CONFLICT (counter, unit, start_ns, gateway) DO UPDATE SET used = excluded.used, changed = excluded.changed
            WHERE t.used <> excluded.used;
END
$$;

-- The first row says what to pass the next time: no transaction before it is open any more, so none is missed that
-- commits late. What the newest have changed may come twice.
CREATE OR REPLACE FUNCTION "spendgate".others(me text, my_process text, my_turn bigint, since bigint)
RETURNS TABLE (next bigint, rule bytea, bucket bytea, unit integer, start_ns bigint, end_ns bigint, rolling_ns bigint,
    used numeric, taken numeric) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    oldest bigint;
BEGIN
    PERFORM "spendgate".known(me, my_process, my_turn);
    SELECT pg_snapshot_xmin(s)::text::bigint, CASE WHEN since > pg_snapshot_xmax(s)::text::bigint THEN 0 ELSE since END
        INTO oldest, since FROM pg_current_snapshot() AS s;
    RETURN QUERY SELECT oldest, NULL::bytea, NULL::bytea, NULL::integer, NULL::bigint, NULL::bigint, NULL::bigint,
        NULL::numeric, NULL::numeric;
    RETURN QUERY SELECT NULL::bigint, (array_agg(t.rule))[1], (array_agg(t.bucket))[1], t.unit, t.start_ns,
            max(t.end_ns), max(t.rolling_ns), sum(t.used), sum(t.taken)
        FROM "spendgate".taken AS t
        JOIN (SELECT DISTINCT c.counter, c.unit, c.start_ns FROM "spendgate".taken AS c
                WHERE c.changed >= since AND c.gateway <> me) AS n
            ON t.counter = n.counter AND t.unit = n.unit AND t.start_ns = n.start_ns
        WHERE t.gateway <> me
        GROUP BY t.counter, t.unit, t.start_ns;
END
$$;

CREATE OR REPLACE FUNCTION "spendgate".say(me text, my_process text, my_turn bigint, channel text, pieces text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    piece text;
BEGIN
    PERFORM "spendgate".known(me, my_process, my_turn);
    FOREACH piece IN ARRAY pieces LOOP
        PERFORM pg_notify(channel, piece);
    END LOOP;
END
$$;

-- Waits for nobody, so that nobody waits for it in a circle.
CREATE OR REPLACE FUNCTION "spendgate".tidy(me text, my_process text, my_turn bigint, past bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM "spendgate".known(me, my_process, my_turn);
    DELETE FROM "spendgate".taken WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM "spendgate".taken AS t WHERE t.past_ns < past FOR UPDATE SKIP LOCKED));
    DELETE FROM "spendgate".gateways WHERE ctid = ANY (ARRAY(
        SELECT g.ctid FROM "spendgate".gateways AS g
            WHERE g.heard < clock_timestamp() - interval '1 day' AND NOT EXISTS (
                SELECT FROM "spendgate".taken AS t WHERE t.gateway = g.name)
            FOR UPDATE SKIP LOCKED));
END
$$;
