-- The queries of features/ and serving/. `{…}` is filled with introspected column lists (features.host).

-- Every connection of a pool. The idle limit ends a transaction, and so frees its user's lock, when its client was
-- lost without the server's knowledge; only the client's own time limit comes before it.
-- name: configure_connection
SET TIME ZONE 'UTC';
SET jit = off;
SET statement_timeout = {statement_ms};
SET idle_in_transaction_session_timeout = {idle_ms};

-- name: host_columns
SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public';

-- Pool ------------------------------------------------------------------------------------------------------------

-- How many artworks there are and how many are active: a cheap sign of change, read from the pool_status index.
-- name: pool_counts
-- The sum tells one artwork deleted and another inserted between two looks.
SELECT count(*), count(*) FILTER (WHERE {active}), coalesce(sum(hashtext(a.id)) FILTER (WHERE {active}), 0)
FROM public.art_sessions AS a;

-- A key for every active artwork that has none; NOT EXISTS keeps the identity from being burned.
-- name: register_artworks
INSERT INTO vernissage.artwork_keys (artwork_id)
SELECT a.id FROM public.art_sessions AS a
WHERE {active} AND NOT EXISTS (SELECT FROM vernissage.artwork_keys AS k WHERE k.artwork_id = a.id)
ORDER BY a.id
ON CONFLICT DO NOTHING;

-- name: active_keys
SELECT coalesce(string_agg(int4send(k.artwork_key), ''::bytea), ''::bytea)
FROM public.art_sessions AS a JOIN vernissage.artwork_keys AS k ON k.artwork_id = a.id
WHERE {active};

-- name: catalogue_rows
SELECT k.artwork_key, extract(epoch FROM a.created_at)::float8 AS created, {columns}
FROM vernissage.artwork_keys AS k JOIN public.art_sessions AS a ON a.id = k.artwork_id
WHERE k.artwork_key = ANY(%(keys)s) ORDER BY k.artwork_key;

-- A user ----------------------------------------------------------------------------------------------------------

-- Everything a request needs to know of its user, in one row; what it has many of is packed (features.packed). What the
-- host itself recorded lately is looked for each time (host_ahead), all of it at a session's start and every hour.
-- name: user_states
SELECT
    (SELECT string_agg(int4send(s.block) || bit_send(s.bits), ''::bytea) FROM vernissage.seen_bits AS s
     WHERE s.user_id = q.user_id) AS seen,
    (SELECT string_agg(int4send(s.artwork_key), ''::bytea) FROM vernissage.seen AS s
     WHERE s.user_id = q.user_id AND s.loaded_by = q.session_id) AS loaded,
    EXISTS (
        SELECT FROM (SELECT n.artwork_id FROM public.user_art_impressions AS n
                     WHERE n.user_id = q.user_id
                       AND n.viewed_at > coalesce(b.host_latest - interval '10 minutes', '-infinity')
                     ORDER BY n.viewed_at DESC LIMIT 200) AS i
        WHERE NOT EXISTS (
            SELECT FROM vernissage.artwork_keys AS k
            JOIN vernissage.seen AS s ON s.user_id = q.user_id AND s.artwork_key = k.artwork_key
            WHERE k.artwork_id = i.artwork_id)
    ) AS host_ahead,
    b.checked_at < CASE WHEN o.live THEN statement_timestamp() - interval '1 hour' ELSE 'infinity' END AS host_unchecked,
    o.held, o.passes, o.retired,
    (SELECT string_agg(int4send(key), ''::bytea) FROM vernissage.sessions AS o, unnest(o.held) AS key
     WHERE o.user_id = q.user_id AND o.session_id <> q.session_id
       AND o.expires_at > statement_timestamp()) AS held_elsewhere,
    (SELECT extract(epoch FROM min(o.expires_at) - statement_timestamp())::float8 FROM vernissage.sessions AS o
     WHERE o.user_id = q.user_id AND o.session_id <> q.session_id
       AND o.expires_at > statement_timestamp() AND o.held <> '{}') AS next_expiry,
    o.last_list, e.keys, e.kinds, e.values, e.ages,
    u.*
FROM unnest(%(user_ids)s::text[], %(session_ids)s::text[]) WITH ORDINALITY AS q (user_id, session_id, place)
LEFT JOIN LATERAL (
    SELECT a.host_latest, a.checked_at FROM vernissage.absorbed AS a WHERE a.user_id = q.user_id LIMIT 1
) AS b ON true
LEFT JOIN LATERAL (
    SELECT r.last_list, r.expires_at > statement_timestamp() AS live,
           CASE WHEN r.expires_at > statement_timestamp() THEN r.held ELSE '{}' END AS held,
           CASE WHEN r.expires_at > statement_timestamp() THEN r.passes ELSE '{}' END AS passes,
           CASE WHEN r.expires_at > statement_timestamp() THEN r.retired ELSE r.retired || ARRAY(
               SELECT h.artwork_key FROM unnest(r.held, r.passes) AS h (artwork_key, passes) WHERE h.passes > 0)
           END AS retired
    FROM vernissage.sessions AS r WHERE r.user_id = q.user_id AND r.session_id = q.session_id LIMIT 1
) AS o ON true
LEFT JOIN LATERAL (
    SELECT string_agg(int4send(r.artwork_key), ''::bytea) AS keys,
           string_agg(int4send(array_position(%(kinds)s::text[], r.kind) - 1), ''::bytea) AS kinds,
           string_agg(float4send(coalesce(r.value, 'NaN')), ''::bytea) AS values,
           string_agg(float4send((date_part('epoch', now() - r.at) / 86400)::real), ''::bytea) AS ages
    FROM (
        (SELECT t.artwork_key, t.kind, t.value, t.at FROM vernissage.events AS t
         WHERE t.user_id = q.user_id AND t.kind <> 'displayed' ORDER BY t.at DESC LIMIT %(signals)s)
        UNION ALL
        (SELECT d.artwork_key, d.kind, d.value, d.at FROM vernissage.events AS d
         WHERE d.user_id = q.user_id AND d.kind = 'displayed' ORDER BY d.at DESC LIMIT %(signals)s)
        {favourites}
    ) AS r
) AS e ON true
LEFT JOIN LATERAL (
    SELECT true AS known, {columns} FROM public.users AS h WHERE h.id = q.user_id LIMIT 1
) AS u ON true
ORDER BY q.place;

-- LATERAL with LIMIT keeps the planner from reading all keys for a few favourites; so it does further below.
-- name: user_favourites
UNION ALL
(SELECT k.artwork_key, 'favourite', NULL::real, f.created_at AT TIME ZONE 'UTC'
 FROM (SELECT n.artwork_id, n.created_at FROM public.art_favorites AS n
       WHERE n.user_id = q.user_id ORDER BY n.created_at DESC LIMIT %(signals)s) AS f
 CROSS JOIN LATERAL (SELECT n.artwork_key FROM vernissage.artwork_keys AS n
                     WHERE n.artwork_id = f.artwork_id LIMIT 1) AS k);

-- Take over what the host itself recorded for a user, in three steps: keys, marks, and how far we are.
-- name: absorb_keys
INSERT INTO vernissage.artwork_keys (artwork_id)
SELECT i.artwork_id FROM public.user_art_impressions AS i
WHERE i.user_id = %(user_id)s
  AND NOT EXISTS (SELECT FROM vernissage.artwork_keys AS k WHERE k.artwork_id = i.artwork_id)
ORDER BY i.artwork_id
ON CONFLICT DO NOTHING;

-- name: absorb_marks
INSERT INTO vernissage.seen AS v (user_id, artwork_key, seen_at)
SELECT i.user_id, k.artwork_key, i.viewed_at AT TIME ZONE 'UTC'
FROM public.user_art_impressions AS i JOIN vernissage.artwork_keys AS k ON k.artwork_id = i.artwork_id
WHERE i.user_id = %(user_id)s
ON CONFLICT (user_id, artwork_key) DO UPDATE SET seen_at = excluded.seen_at WHERE v.seen_at > excluded.seen_at;

-- name: note_absorbed
INSERT INTO vernissage.absorbed (user_id, host_rows, host_latest, checked_at)
SELECT %(user_id)s, count(*), max(i.viewed_at), statement_timestamp()
FROM public.user_art_impressions AS i WHERE i.user_id = %(user_id)s
ON CONFLICT (user_id) DO UPDATE SET
    host_rows = excluded.host_rows, host_latest = excluded.host_latest, checked_at = excluded.checked_at;

-- Whether the host holds of a user just what was taken over; then that is noted, and the answer is a row.
-- name: check_absorbed
UPDATE vernissage.absorbed AS b SET checked_at = statement_timestamp()
WHERE b.user_id = %(user_id)s
  AND (b.host_rows, coalesce(b.host_latest, '-infinity')) = (
      SELECT count(*), coalesce(max(i.viewed_at), '-infinity') FROM public.user_art_impressions AS i
      WHERE i.user_id = %(user_id)s)
RETURNING true;

-- A list lost something on its way: the next request shall look at all that the host holds.
-- name: doubt_absorbed
UPDATE vernissage.absorbed AS b SET checked_at = '-infinity' WHERE b.user_id = %(user_id)s;

-- Lists -----------------------------------------------------------------------------------------------------------

-- Write lists of different users, each a JSON object: of its artworks only those that are active at this moment and that
-- neither we nor the host has marked as seen (but for those that the session itself has loaded), the first `requested` of
-- them in order; a row is the lease, the exposure log and the attribution key. Returns the artworks' keys and in which
-- version the host has them now, a row per list.
-- name: lease_lists
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(lists)s::json) AS l (
        place integer, recommendation_id uuid, user_id text, session_id text, requested integer, repeats uuid,
        policy text, model_version text, reason text, artwork_keys integer[], scores real[], rungs smallint[],
        propensities real[], known boolean, held integer[], passes smallint[], retired integer[], candidate_hash bigint,
        candidate_size integer, excluded jsonb, experiments jsonb, inputs jsonb, sampler jsonb, head_keys integer[],
        head_scores real[], took_ms real, fallback text)
), offered AS MATERIALIZED (
    SELECT l.place, f.*
    FROM asked AS l CROSS JOIN LATERAL (
        SELECT o.artwork_key, o.score, o.rung, o.propensity, o.position, a.xmin::text::bigint AS row_version
        FROM unnest(l.artwork_keys, l.scores, l.rungs, l.propensities)
             WITH ORDINALITY AS o (artwork_key, score, rung, propensity, position)
        JOIN vernissage.artwork_keys AS k ON k.artwork_key = o.artwork_key
        JOIN public.art_sessions AS a ON a.id = k.artwork_id
        WHERE {active} AND coalesce(
            (SELECT v.loaded_by IS NOT NULL AND v.loaded_by = l.session_id
             FROM vernissage.seen AS v WHERE v.user_id = l.user_id AND v.artwork_key = k.artwork_key),
            NOT EXISTS (SELECT FROM public.user_art_impressions AS i
                        WHERE i.user_id = l.user_id AND i.artwork_id = k.artwork_id))
        ORDER BY o.position
        LIMIT l.requested) AS f
), made AS MATERIALIZED (
    SELECT l.*, g.keys, g.their_scores, g.their_rungs, g.their_propensities, g.row_versions,
           coalesce(g.fresh, '{}') AS fresh
    FROM asked AS l LEFT JOIN LATERAL (
        SELECT array_agg(f.artwork_key ORDER BY f.position) AS keys,
               array_agg(f.score ORDER BY f.position) AS their_scores,
               array_agg(f.rung ORDER BY f.position) AS their_rungs,
               array_agg(f.propensity ORDER BY f.position) AS their_propensities,
               array_agg(f.row_version ORDER BY f.position) AS row_versions,
               array_agg(f.artwork_key ORDER BY f.position) FILTER (WHERE f.artwork_key <> ALL (l.held)) AS fresh
        FROM offered AS f WHERE f.place = l.place) AS g ON true
), list AS (
    INSERT INTO vernissage.served_lists (
        recommendation_id, user_id, session_id, repeats, policy, model_version, requested, reason,
        artwork_keys, scores, rungs, propensities, candidate_hash, candidate_size, excluded, experiments,
        inputs, sampler, head_keys, head_scores, took_ms, fallback)
    SELECT recommendation_id, user_id, session_id, repeats, policy, model_version, requested, reason,
           coalesce(keys, '{}'), coalesce(their_scores, '{}'), coalesce(their_rungs, '{}'),
           coalesce(their_propensities, '{}'), candidate_hash, candidate_size, excluded, experiments,
           inputs, sampler, head_keys, head_scores, took_ms, fallback
    FROM made
), hosted AS (
    INSERT INTO vernissage.hosted_users (user_id) SELECT user_id FROM made WHERE known ON CONFLICT DO NOTHING
), session AS (
    INSERT INTO vernissage.sessions AS s (user_id, session_id, last_list, expires_at, held, passes, retired)
    SELECT user_id, session_id, recommendation_id, statement_timestamp() + make_interval(secs => %(first_seconds)s),
           held || fresh, passes || array_fill(0::smallint, ARRAY[cardinality(fresh)]), retired
    FROM made
    ON CONFLICT (user_id, session_id) DO UPDATE SET
        leases_from = CASE WHEN s.expires_at > statement_timestamp() THEN s.leases_from ELSE statement_timestamp() END,
        expires_at = greatest(s.expires_at, CASE
            WHEN s.last_sign_at IS NULL OR s.expires_at <= statement_timestamp() THEN excluded.expires_at
            ELSE statement_timestamp()
                 + make_interval(secs => cardinality(excluded.held) * %(stretch_seconds)s + %(grace_seconds)s)
        END),
        last_list = excluded.last_list, held = excluded.held, passes = excluded.passes, retired = excluded.retired
    RETURNING s.user_id, s.expires_at, s.shown
)
SELECT coalesce(m.keys, '{}') AS keys, coalesce(m.row_versions, '{}') AS row_versions, s.expires_at, s.shown
FROM made AS m JOIN session AS s ON s.user_id = m.user_id
ORDER BY m.place;

-- name: host_artworks
SELECT k.artwork_key, a.xmin::text::bigint AS row_version, {columns}
FROM vernissage.artwork_keys AS k JOIN public.art_sessions AS a ON a.id = k.artwork_id
WHERE k.artwork_key = ANY (%(keys)s::integer[]);

-- Impressions -----------------------------------------------------------------------------------------------------

-- Record a batch of events, a JSON object each, in one statement: the log (once per event), the seen marks (any signal comes from somebody
-- who has seen the artwork), the host's own impressions (only for users and artworks that the host holds; its first
-- sighting stays), and the end of the leases. A fenced event is a claim: it counts only while its session holds the
-- artwork under that lease and nobody has shown it. Unfenced ones are always recorded: they have happened.
-- Existence is asked for by single rows of unique keys, never by EXISTS: while a table is young PostgreSQL would read it
-- whole for that, and go on so with the prepared plan when it has grown. Returns one byte per event, in order.
-- name: record_events
WITH named AS (
    SELECT * FROM ROWS FROM (json_to_recordset(%(events)s::json) AS (
        event_key uuid, user_id text, artwork_id text, kind text, session_id text, lease_id uuid, value real,
        at timestamptz, fenced boolean))
    WITH ORDINALITY AS n (event_key, user_id, artwork_id, kind, session_id, lease_id, value, at, fenced, ordinal)
), people AS MATERIALIZED (
    SELECT u.id FROM public.users AS u WHERE u.id = ANY (%(users)s::text[])
), found AS MATERIALIZED (
    SELECT n.*, (SELECT k.artwork_key FROM vernissage.artwork_keys AS k WHERE k.artwork_id = n.artwork_id) AS found_key
    FROM named AS n
), keyed AS (
    INSERT INTO vernissage.artwork_keys (artwork_id)
    SELECT DISTINCT f.artwork_id FROM found AS f WHERE f.found_key IS NULL ORDER BY f.artwork_id
    ON CONFLICT (artwork_id) DO UPDATE SET artwork_id = excluded.artwork_id  -- so that its key is returned all the same
    RETURNING artwork_key, artwork_id
), known AS MATERIALIZED (
    SELECT f.*, f.user_id IN (SELECT p.id FROM people AS p) AS user_known,
           coalesce(f.found_key, (SELECT k.artwork_key FROM keyed AS k WHERE k.artwork_id = f.artwork_id)) AS artwork_key
    FROM found AS f
), sent AS (
    SELECT n.ordinal, n.event_key, n.user_id, n.artwork_id, n.kind, n.session_id, n.lease_id, n.value, n.user_known,
           least(coalesce(n.at, statement_timestamp()), statement_timestamp()) AS at, n.artwork_key,
           coalesce((SELECT true FROM public.art_sessions AS a WHERE a.id = n.artwork_id), false) AS artwork_known,
           NOT n.fenced OR (
               (SELECT e.artwork_key FROM vernissage.events AS e WHERE e.event_key = n.event_key) IS NULL
               AND (SELECT o.expires_at > statement_timestamp() AND n.artwork_key = ANY (o.held)
                    FROM vernissage.sessions AS o
                    WHERE o.user_id = n.user_id AND o.session_id = coalesce(n.session_id, '')) IS TRUE
               AND (SELECT l.user_id = n.user_id AND n.artwork_key = ANY (l.artwork_keys)
                    FROM vernissage.served_lists AS l WHERE l.recommendation_id = n.lease_id) IS TRUE
               AND (SELECT true FROM public.art_sessions AS a WHERE a.id = n.artwork_id AND {active}) IS TRUE
               AND coalesce(
                   (SELECT v.loaded_by IS NOT NULL AND v.loaded_by = coalesce(n.session_id, '')
                    FROM vernissage.seen AS v WHERE v.user_id = n.user_id AND v.artwork_key = n.artwork_key),
                   (SELECT true FROM public.user_art_impressions AS i  -- the host may have shown it past us
                    WHERE i.user_id = n.user_id AND i.artwork_id = n.artwork_id) IS NULL)
               AND (n.user_known
                    OR (SELECT true FROM vernissage.hosted_users AS w WHERE w.user_id = n.user_id) IS NULL)
           ) AS allowed
    FROM known AS n
), counted AS (
    SELECT DISTINCT ON (event_key, artwork_key) * FROM sent WHERE allowed ORDER BY event_key, artwork_key, ordinal
), logged AS (
    INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, session_id, lease_id, value)
    SELECT DISTINCT ON (event_key) event_key, user_id, artwork_key, kind, at, session_id, lease_id, value
    FROM counted ORDER BY event_key, ordinal
    ON CONFLICT DO NOTHING
    RETURNING event_key
), marked AS (
    INSERT INTO vernissage.seen AS v (user_id, artwork_key, seen_at)
    SELECT user_id, artwork_key, min(at) FROM counted GROUP BY user_id, artwork_key
    ON CONFLICT (user_id, artwork_key) DO UPDATE SET loaded_by = NULL WHERE v.loaded_by IS NOT NULL
    RETURNING user_id, artwork_key
), hosted AS (
    INSERT INTO public.user_art_impressions (id, user_id, artwork_id, viewed_at)
    SELECT min(s.event_key::text), s.user_id, s.artwork_id, min(s.at) AT TIME ZONE 'UTC'
    FROM counted AS s
    WHERE s.artwork_known AND s.user_known
    GROUP BY s.user_id, s.artwork_id
    ON CONFLICT DO NOTHING
    RETURNING user_id, viewed_at
), followed AS (
    INSERT INTO vernissage.absorbed AS b (user_id, host_rows, host_latest)
    SELECT user_id, count(*), max(viewed_at) FROM hosted GROUP BY user_id
    ON CONFLICT (user_id) DO UPDATE SET
        host_rows = b.host_rows + excluded.host_rows, host_latest = greatest(b.host_latest, excluded.host_latest)
), noted AS (
    INSERT INTO vernissage.hosted_users (user_id)
    SELECT DISTINCT c.user_id FROM counted AS c WHERE c.user_known
    ON CONFLICT DO NOTHING
), shown AS (
    UPDATE vernissage.sessions AS o SET
        (held, passes, retired) = (
            SELECT coalesce(array_agg(h.artwork_key ORDER BY h.place) FILTER (WHERE h.passes < %(most_passes)s), '{}'),
                   coalesce(array_agg(h.passes ORDER BY h.place) FILTER (WHERE h.passes < %(most_passes)s), '{}'),
                   o.retired || coalesce(array_agg(h.artwork_key) FILTER (WHERE h.passes >= %(most_passes)s), '{}')
            FROM (SELECT g.artwork_key, g.place,
                         (g.passes + (g.place < coalesce((
                             SELECT max(p.place) FROM unnest(o.held) WITH ORDINALITY AS p (artwork_key, place)
                             WHERE p.artwork_key = ANY (d.keys)), 0))::integer  -- 0: none of what it holds was shown
                         )::smallint AS passes
                  FROM unnest(o.held, o.passes) WITH ORDINALITY AS g (artwork_key, passes, place)
                  WHERE g.artwork_key <> ALL (d.keys)) AS h),
        shown = o.shown + CASE WHEN o.session_id = ANY (d.session_ids) THEN d.displayed ELSE 0 END,
        last_sign_at = CASE WHEN o.session_id = ANY (d.session_ids) THEN statement_timestamp() ELSE o.last_sign_at END,
        expires_at = CASE WHEN o.session_id = ANY (d.session_ids) AND o.expires_at > statement_timestamp()
            THEN greatest(o.expires_at, statement_timestamp()
                          + make_interval(secs => cardinality(o.held) * %(stretch_seconds)s + %(grace_seconds)s))
            ELSE o.expires_at END
    FROM (SELECT user_id, array_agg(artwork_key) AS keys,
                 count(*) FILTER (WHERE kind = 'displayed' AND event_key IN (SELECT g.event_key FROM logged AS g)
                 ) AS displayed,
                 array_agg(coalesce(session_id, '')) AS session_ids
          FROM counted GROUP BY user_id) AS d
    WHERE o.user_id = ANY (%(users)s::text[]) AND o.user_id = d.user_id
      AND (o.held && d.keys OR o.session_id = ANY (d.session_ids))
)
SELECT string_agg(set_byte('\x00', 0, r.flags), ''::bytea ORDER BY r.ordinal)
FROM (
    SELECT s.ordinal,
           s.artwork_known::integer + 2 * s.user_known::integer
           + 4 * CASE WHEN l.event_key IS NOT NULL THEN 0 ELSE coalesce(  -- what was logged now was not logged before
               (SELECT (e.artwork_key = s.artwork_key)::integer FROM vernissage.events AS e
                WHERE e.event_key = s.event_key), 0) END
           + 8 * (l.event_key IS NOT NULL
                  AND s.ordinal = min(s.ordinal) FILTER (WHERE s.allowed) OVER (PARTITION BY s.event_key))::integer
           + 16 * (m.artwork_key IS NOT NULL)::integer AS flags
    FROM sent AS s
    LEFT JOIN logged AS l USING (event_key)
    LEFT JOIN marked AS m ON m.user_id = s.user_id AND m.artwork_key = s.artwork_key
) AS r;

-- The leases of a replaced session (a page reload) pass over to its successor, with what it had only loaded.
-- name: supersede
WITH old AS (
    SELECT held, passes, retired, expires_at, last_sign_at FROM vernissage.sessions
    WHERE user_id = %(user_id)s AND session_id = %(supersedes)s AND session_id <> %(session_id)s
      AND expires_at > statement_timestamp()
    FOR UPDATE
), emptied AS (
    UPDATE vernissage.sessions SET held = '{}', passes = '{}', expires_at = statement_timestamp()
    WHERE user_id = %(user_id)s AND session_id = %(supersedes)s AND EXISTS (SELECT FROM old)
), handed AS (
    UPDATE vernissage.seen SET loaded_by = %(session_id)s
    WHERE user_id = %(user_id)s AND loaded_by = %(supersedes)s AND EXISTS (SELECT FROM old)
)
INSERT INTO vernissage.sessions AS s (user_id, session_id, expires_at, last_sign_at, held, passes, retired)
SELECT %(user_id)s, %(session_id)s, expires_at, last_sign_at, held, passes, retired FROM old
ON CONFLICT (user_id, session_id) DO UPDATE SET
    held = CASE WHEN s.expires_at > statement_timestamp() THEN s.held ELSE '{}' END || excluded.held,
    passes = CASE WHEN s.expires_at > statement_timestamp() THEN s.passes ELSE '{}' END || excluded.passes,
    retired = s.retired || excluded.retired,
    expires_at = greatest(s.expires_at, excluded.expires_at);

-- A sign of life: renews what is still live (what has expired is lost) and keeps the client's own counters.
-- name: heartbeat
WITH old AS (
    SELECT client FROM vernissage.sessions WHERE user_id = %(user_id)s AND session_id = %(session_id)s
), beaten AS (
    UPDATE vernissage.sessions AS s SET
        last_sign_at = statement_timestamp(), client = %(client)s,
        expires_at = CASE WHEN s.expires_at > statement_timestamp() THEN greatest(s.expires_at,
            statement_timestamp() + make_interval(secs => cardinality(s.held) * %(stretch_seconds)s + %(grace_seconds)s))
            ELSE s.expires_at END
    WHERE s.user_id = %(user_id)s AND s.session_id = %(session_id)s
    RETURNING s.expires_at, s.held
)
SELECT b.expires_at > statement_timestamp() AS live,
       extract(epoch FROM b.expires_at - statement_timestamp())::float8 AS seconds, old.client,
       ARRAY(SELECT k.artwork_id FROM unnest(b.held) WITH ORDINALITY AS h (artwork_key, place)
             JOIN vernissage.artwork_keys AS k USING (artwork_key) ORDER BY h.place) AS held
FROM beaten AS b, old;

-- name: end_session
UPDATE vernissage.sessions AS s SET held = '{}', passes = '{}', expires_at = least(s.expires_at, statement_timestamp())
FROM (SELECT cardinality(o.held) AS held FROM vernissage.sessions AS o
      WHERE o.user_id = %(user_id)s AND o.session_id = %(session_id)s AND o.expires_at > statement_timestamp()) AS b
WHERE s.user_id = %(user_id)s AND s.session_id = %(session_id)s
RETURNING b.held;

-- Users whom the host has deleted since we served them; all their rows go (an artwork's seen marks stay).
-- name: lock_erasure
SELECT pg_try_advisory_xact_lock(hashtextextended('vernissage.erasure', 0));

-- name: departed_users
SELECT h.user_id FROM vernissage.hosted_users AS h
WHERE NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = h.user_id) LIMIT 1000;

-- name: erase_users
WITH gone AS (SELECT unnest(%(user_ids)s::text[]) AS user_id),
     lists AS (DELETE FROM vernissage.served_lists AS t USING gone WHERE t.user_id = gone.user_id),
     log AS (DELETE FROM vernissage.events AS t USING gone WHERE t.user_id = gone.user_id),
     marks AS (DELETE FROM vernissage.seen AS t USING gone WHERE t.user_id = gone.user_id),
     tabs AS (DELETE FROM vernissage.sessions AS t USING gone WHERE t.user_id = gone.user_id),
     taken AS (DELETE FROM vernissage.absorbed AS t USING gone WHERE t.user_id = gone.user_id),
     again AS (DELETE FROM vernissage.replays AS t USING gone WHERE t.user_id = gone.user_id),
     waits AS (DELETE FROM vernissage.list_jobs AS t USING gone WHERE t.user_id = gone.user_id),
     arms AS (DELETE FROM vernissage.experiment_overrides AS t USING gone WHERE t.user_id = gone.user_id),
     tried AS (DELETE FROM vernissage.client_exposures AS t USING gone WHERE t.user_id = gone.user_id)
DELETE FROM vernissage.hosted_users AS t USING gone WHERE t.user_id = gone.user_id;

-- History, favourites, replays -----------------------------------------------------------------------------------

-- The artworks a user was shown, latest first; what the host has deleted is left out. Those of one moment (claimed
-- together) are never parted, since the next part starts before the last moment of this one.
-- name: history
SELECT e.at, e.session_id, a.id AS artwork_id, a.image_url, a.prompt, coalesce(r.replays, 0) AS replays,
       r.last_replayed_at, {favourite} AS favourite
FROM vernissage.events AS e
JOIN vernissage.artwork_keys AS k ON k.artwork_key = e.artwork_key
JOIN public.art_sessions AS a ON a.id = k.artwork_id
LEFT JOIN vernissage.replays AS r ON r.user_id = e.user_id AND r.artwork_key = e.artwork_key
WHERE e.user_id = %(user_id)s AND e.kind = 'displayed' AND e.at < %(before)s
ORDER BY e.at DESC FETCH FIRST %(limit)s ROWS WITH TIES;

-- name: is_favourite
EXISTS (SELECT FROM public.art_favorites AS f WHERE f.user_id = %(user_id)s AND f.artwork_id = a.id);

-- Only what was shown can be shown again: no impression, no lease, no event.
-- name: replay
INSERT INTO vernissage.replays AS r (user_id, artwork_key)
SELECT v.user_id, v.artwork_key
FROM vernissage.artwork_keys AS k
JOIN vernissage.seen AS v ON v.artwork_key = k.artwork_key AND v.user_id = %(user_id)s AND v.loaded_by IS NULL
JOIN public.art_sessions AS a ON a.id = k.artwork_id
WHERE k.artwork_id = %(artwork_id)s
ON CONFLICT (user_id, artwork_key) DO UPDATE SET replays = r.replays + 1, last_replayed_at = now()
RETURNING r.replays, r.last_replayed_at;

-- name: favourites
SELECT a.id AS artwork_id, a.image_url, a.prompt, f.created_at AT TIME ZONE 'UTC' AS at
FROM (SELECT n.artwork_id, n.created_at FROM public.art_favorites AS n
      WHERE n.user_id = %(user_id)s ORDER BY n.created_at DESC LIMIT %(limit)s) AS f
CROSS JOIN LATERAL (SELECT n.id, n.image_url, n.prompt FROM public.art_sessions AS n
                    WHERE n.id = f.artwork_id LIMIT 1) AS a
ORDER BY f.created_at DESC;

-- Returns a row where the host holds both, whether this is new or not.
-- name: set_favourite
WITH held AS (
    SELECT u.id AS user_id, a.id AS artwork_id FROM public.users AS u, public.art_sessions AS a
    WHERE u.id = %(user_id)s AND a.id = %(artwork_id)s
), marked AS (
    INSERT INTO public.art_favorites (id, user_id, artwork_id)
    SELECT gen_random_uuid()::text, user_id, artwork_id FROM held
    ON CONFLICT DO NOTHING
)
SELECT FROM held;

-- name: unset_favourite
WITH said AS (
    DELETE FROM vernissage.events AS e USING vernissage.artwork_keys AS k
    WHERE e.user_id = %(user_id)s AND e.kind = 'favourite' AND k.artwork_key = e.artwork_key
      AND k.artwork_id = %(artwork_id)s
)
DELETE FROM public.art_favorites WHERE user_id = %(user_id)s AND artwork_id = %(artwork_id)s;

-- Keys, models, audit ---------------------------------------------------------------------------------------------

-- name: find_key
SELECT key_id, scopes FROM vernissage.api_keys WHERE key_hash = %(key_hash)s AND revoked_at IS NULL;

-- name: create_key
INSERT INTO vernissage.api_keys (key_id, key_hash, scopes, label)
VALUES (%(key_id)s, %(key_hash)s, %(scopes)s, %(label)s);

-- name: list_keys
SELECT key_id, scopes, label, created_at, revoked_at FROM vernissage.api_keys ORDER BY created_at;

-- name: revoke_key
UPDATE vernissage.api_keys SET revoked_at = now() WHERE key_id = %(key_id)s AND revoked_at IS NULL;

-- name: live_model
SELECT version, bundle_path, digest, moved_at, refused_version, refused_reason, refused_at, drift
FROM vernissage.live_models WHERE alias = %(alias)s;

-- name: audit
INSERT INTO vernissage.audit_log (actor, action, subject, detail)
VALUES (%(actor)s, %(action)s, %(subject)s, %(detail)s);

-- name: installation_secret
SELECT value FROM vernissage.secrets WHERE name = 'installation';

-- Experiments -----------------------------------------------------------------------------------------------------

-- One change at a time: what is refused depends on what runs.
-- name: lock_experiments
SELECT pg_advisory_xact_lock(hashtextextended('vernissage.experiments', 0));

-- name: experiments
SELECT n.* FROM vernissage.experiments_now AS n ORDER BY n.name, n.version DESC;

-- name: experiment
SELECT n.* FROM vernissage.experiments_now AS n WHERE n.name = %(name)s ORDER BY n.version DESC;

-- name: running_experiments
SELECT n.name, n.version, n.slots, n.definition,
       (SELECT jsonb_object_agg(o.user_id, o.arm) FROM vernissage.experiment_overrides AS o WHERE o.name = n.name)
       AS overrides
FROM vernissage.experiments_now AS n WHERE n.state = 'running' ORDER BY n.name;

-- name: create_experiment
INSERT INTO vernissage.experiments (name, version, definition) VALUES (%(name)s, %(version)s, %(definition)s);

-- name: set_experiment_state
INSERT INTO vernissage.experiment_states (name, version, state, slots, horizon_days, power, reason)
VALUES (%(name)s, %(version)s, %(state)s, %(slots)s, %(horizon_days)s, %(power)s, %(reason)s);

-- name: set_override
INSERT INTO vernissage.experiment_overrides (name, user_id, arm) VALUES (%(name)s, %(user_id)s, %(arm)s)
ON CONFLICT (name, user_id) DO UPDATE SET arm = excluded.arm, at = now();

-- Another experiment of a layer, not put away yet, in which the user's arm was chosen.
-- name: overridden_in_layer
SELECT o.name FROM vernissage.experiment_overrides AS o
WHERE o.user_id = %(user_id)s AND o.name <> %(name)s AND EXISTS (
    SELECT FROM vernissage.experiments_now AS n
    WHERE n.name = o.name AND n.state <> 'archived' AND n.definition ->> 'layer' = %(layer)s)
ORDER BY o.name LIMIT 1;

-- name: unset_override
DELETE FROM vernissage.experiment_overrides WHERE name = %(name)s AND user_id = %(user_id)s;

-- name: flags
SELECT f.name, f.definition FROM vernissage.flags AS f ORDER BY f.name;

-- name: set_flag
INSERT INTO vernissage.flags (name, definition) VALUES (%(name)s, %(definition)s)
ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, changed_at = now();

-- The first exposure of a user to a version counts.
-- name: note_exposure
INSERT INTO vernissage.client_exposures (user_id, name, version, arm, overridden, session_id)
VALUES (%(user_id)s, %(name)s, %(version)s, %(arm)s, %(overridden)s, %(session_id)s)
ON CONFLICT DO NOTHING;

-- name: model_is_delivered
SELECT EXISTS (SELECT FROM vernissage.live_models WHERE alias = %(alias)s);

-- Users of the last days by the day that they first came on, with the moments of a metric's two parts over users.
-- name: experiment_traffic
WITH people AS (
    SELECT min(e.received_at) AS first, {parts}
    FROM vernissage.events AS e WHERE e.received_at > now() - make_interval(days => %(days)s)
    GROUP BY e.user_id
)
SELECT floor(extract(epoch FROM p.first - now()) / 86400)::integer + %(days)s AS day, count(*) AS users,
       sum(v.x) AS x, sum(v.y) AS y, sum(v.x * v.x) AS xx, sum(v.y * v.y) AS yy, sum(v.x * v.y) AS xy
FROM people AS p, LATERAL (SELECT {numerator}::float8 AS x, {denominator}::float8 AS y) AS v
GROUP BY 1 ORDER BY 1;

-- What of a user's events the metrics are made of.
-- name: metric_parts
count(*) FILTER (WHERE e.kind = 'displayed') AS displays,
count(*) FILTER (WHERE e.kind IN ('like', 'favourite')) AS likes,
count(*) FILTER (WHERE e.kind = 'skip') AS skips,
coalesce(sum(e.value) FILTER (WHERE e.kind = 'dwell'), 0) AS dwell;

-- Who was exposed to one version, in order: the first list that says so starts a user's analysis. `arm` is NULL where
-- the lists are interleaved. Lists that had to do without an arm's model expose nobody. Overridden is also who was moved
-- by hand to another experiment of the layer meanwhile.
-- name: experiment_units
WITH moved AS (
    SELECT DISTINCT l.user_id
    FROM vernissage.served_lists AS l CROSS JOIN LATERAL jsonb_each(l.experiments) AS m (name, entry)
    JOIN vernissage.experiments AS other ON other.name = m.name AND other.version = (m.entry ->> 'version')::integer
    JOIN vernissage.experiments AS own ON own.definition -> 'layer' = other.definition -> 'layer'
    WHERE l.experiments @? '$.*.overridden' AND l.served_at < %(until)s AND m.entry ? 'overridden'
      AND other.name <> own.name AND own.name = %(name)s
      AND own.version = (%(marked)s::jsonb -> %(name)s ->> 'version')::integer
)
SELECT l.user_id, min(l.served_at) AS first,
       (array_agg(l.experiments -> %(name)s ->> 'arm' ORDER BY l.served_at))[1] AS arm,
       bool_or(l.experiments -> %(name)s ? 'overridden' OR EXISTS (
           SELECT FROM moved AS m WHERE m.user_id = l.user_id)) AS overridden
FROM vernissage.served_lists AS l
WHERE l.experiments @> %(marked)s AND NOT l.experiments @> %(lacking)s AND l.served_at < %(until)s
GROUP BY l.user_id ORDER BY first, l.user_id;

-- What such a list offered counts in no arm.
-- name: with_models
NOT EXISTS (SELECT FROM vernissage.served_lists AS f WHERE f.experiments @> %(lacking)s AND f.user_id = e.user_id
            AND e.artwork_key = ANY (f.artwork_keys) AND f.served_at <= e.at)

-- How many lists had to do without.
-- name: experiment_lacking
SELECT count(*) AS lists, count(DISTINCT l.user_id) AS users FROM vernissage.served_lists AS l
WHERE l.experiments @> %(lacking)s AND l.served_at < %(until)s
  AND NOT l.experiments -> %(name)s ? 'overridden';

-- The same of a version that compares client values alone: who acted on one, as the clients say.
-- name: experiment_client_units
SELECT c.user_id, c.at AS first, c.arm, c.overridden
FROM vernissage.client_exposures AS c
WHERE c.name = %(name)s AND c.version = (%(marked)s::jsonb -> %(name)s ->> 'version')::integer AND c.at < %(until)s
ORDER BY c.at, c.user_id;

-- What users did from their first exposure on, for `days` at most.
-- name: experiment_after
SELECT u.user_id, {parts}
FROM unnest(%(user_ids)s::text[], %(firsts)s::timestamptz[]) AS u (user_id, first)
JOIN vernissage.events AS e ON e.user_id = u.user_id
     AND e.at >= u.first AND e.at < least(u.first + make_interval(days => %(days)s), %(until)s)
WHERE {with_models}
GROUP BY u.user_id;

-- The same by spans of days since the first exposure; `edges` are their ends, in days.
-- name: experiment_spans
SELECT u.user_id, width_bucket(extract(epoch FROM e.at - u.first)::float8 / 86400, %(edges)s::float8[]) AS span, {parts}
FROM unnest(%(user_ids)s::text[], %(firsts)s::timestamptz[]) AS u (user_id, first)
JOIN vernissage.events AS e ON e.user_id = u.user_id AND e.at >= u.first AND e.at < %(until)s
WHERE {with_models}
GROUP BY u.user_id, span;

-- What they did before it.
-- name: experiment_before
SELECT u.user_id, {parts}
FROM unnest(%(user_ids)s::text[], %(firsts)s::timestamptz[]) AS u (user_id, first)
JOIN vernissage.events AS e ON e.user_id = u.user_id
     AND e.at < u.first AND e.at >= u.first - make_interval(days => %(days)s)
GROUP BY u.user_id;

-- The 95th percentile of the time that each arm's lists took.
-- name: experiment_times
SELECT u.arm, percentile_cont(0.95) WITHIN GROUP (ORDER BY l.took_ms) AS p95_ms
FROM unnest(%(user_ids)s::text[], %(firsts)s::timestamptz[], %(arms)s::integer[]) AS u (user_id, first, arm)
JOIN vernissage.served_lists AS l ON l.user_id = u.user_id AND l.served_at >= u.first AND l.served_at < %(until)s
WHERE l.took_ms IS NOT NULL AND (l.experiments @> %(lacking)s) IS NOT TRUE
GROUP BY u.arm;

-- How they were served. An error: the model that was to rank did not, or artworks were gone before they were offered.
-- name: experiment_lists
SELECT u.user_id, count(*) AS lists, sum(l.requested) AS asked, sum(cardinality(l.artwork_keys)) AS returned,
       count(*) FILTER (WHERE l.reason = 'exhausted') AS stockouts,
       count(*) FILTER (WHERE l.fallback IN ('late', 'busy', 'broken')
                        OR l.reason IS NULL AND cardinality(l.artwork_keys) < l.requested) AS errors,
       count(l.took_ms) AS timed, count(*) FILTER (WHERE l.took_ms > %(slow_ms)s) AS slow
FROM unnest(%(user_ids)s::text[], %(firsts)s::timestamptz[]) AS u (user_id, first)
JOIN vernissage.served_lists AS l ON l.user_id = u.user_id
     AND l.served_at >= u.first AND l.served_at < least(u.first + make_interval(days => %(days)s), %(until)s)
WHERE (l.experiments @> %(lacking)s) IS NOT TRUE
GROUP BY u.user_id;

-- What they were shown for the first time, and what that had cost: each order's price, shared by all who have seen it.
-- name: experiment_displays
WITH costs AS (
    SELECT k.artwork_key, o.cost / count(*) AS cost
    FROM vernissage.order_versions AS d
    JOIN vernissage.orders AS o USING (order_id)
    JOIN vernissage.artwork_keys AS k ON k.artwork_id = d.detail ->> 'artwork_id'
    JOIN vernissage.seen AS v ON v.artwork_key = k.artwork_key AND v.loaded_by IS NULL AND v.seen_at < %(until)s
    WHERE d.state = 'delivered'
    GROUP BY k.artwork_key, o.cost
), e AS (
    SELECT n.user_id, n.artwork_key, n.at, u.first,
           row_number() OVER (PARTITION BY n.user_id, n.artwork_key ORDER BY n.at, n.event_key) AS time
    FROM unnest(%(user_ids)s::text[], %(firsts)s::timestamptz[]) AS u (user_id, first)
    JOIN vernissage.events AS n ON n.user_id = u.user_id AND n.kind = 'displayed' AND n.at < %(until)s
)
SELECT e.user_id, count(*) FILTER (WHERE e.time = 1) AS fresh,
       coalesce(sum(c.cost) FILTER (WHERE e.time = 1), 0) AS dollars
FROM e LEFT JOIN costs AS c USING (artwork_key)
WHERE e.at >= e.first AND e.at < e.first + make_interval(days => %(days)s) AND {with_models}
GROUP BY e.user_id;

-- Displays and likes by the tenth of the pool that the user had seen before each display.
-- name: experiment_tenths
WITH e AS (
    SELECT v.user_id, v.artwork_key, v.seen_at AS at, u.first,
           row_number() OVER (PARTITION BY v.user_id ORDER BY v.seen_at, v.artwork_key) - 1 AS before
    FROM unnest(%(user_ids)s::text[], %(firsts)s::timestamptz[]) AS u (user_id, first)
    JOIN vernissage.seen AS v ON v.user_id = u.user_id AND v.loaded_by IS NULL
)
SELECT e.user_id, least(10 * e.before / greatest(%(pool)s, 1), 9)::integer AS tenth, count(*) AS displays,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM vernissage.events AS n WHERE n.user_id = e.user_id AND n.artwork_key = e.artwork_key
              AND n.kind <> 'displayed' AND n.kind IN ('like', 'favourite') AND n.at < %(until)s)) AS likes
FROM e WHERE e.at >= e.first AND e.at < %(until)s AND {with_models}
GROUP BY e.user_id, tenth;

-- Likes by the team that picked the artwork, of those that an interleaved list offered; the first list counts.
-- name: experiment_teams
WITH picked AS (
    SELECT DISTINCT ON (l.user_id, k.key) l.user_id, t.team, k.key::integer AS artwork_key, l.served_at
    FROM vernissage.served_lists AS l,
         LATERAL jsonb_each(l.experiments -> %(name)s -> 'teams') AS t (team, keys),
         LATERAL jsonb_array_elements_text(t.keys) AS k (key)
    WHERE l.experiments @> %(marked)s AND l.served_at < %(until)s AND k.key::integer = ANY (l.artwork_keys)
    ORDER BY l.user_id, k.key, l.served_at
)
SELECT p.user_id, p.team, count(*) AS offered,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM vernissage.events AS e WHERE e.user_id = p.user_id AND e.artwork_key = p.artwork_key
              AND e.kind <> 'displayed' AND e.kind IN ('like', 'favourite')
              AND e.at >= p.served_at AND e.at < %(until)s)) AS likes
FROM picked AS p GROUP BY p.user_id, p.team;

-- The version of each experiment that runs and is to be stopped when it harms.
-- name: guarded_experiments
SELECT n.name, n.version FROM vernissage.experiments_now AS n
WHERE n.state = 'running' AND (n.definition ->> 'stop_on_harm')::boolean ORDER BY n.name;

-- The experiment on users that was started last.
-- name: latest_experiment
SELECT n.name FROM vernissage.experiments_now AS n
WHERE n.started_at IS NOT NULL AND n.definition ->> 'unit' = 'user' ORDER BY n.started_at DESC LIMIT 1;

-- What happened in blocks of time of `seconds` each, numbered since 1970, their first `washout` seconds left out. Orders
-- count in the block that they were placed in: what they cost, what came of them, and which were never shown until now;
-- `strays` are those of another arm than the block's.
-- name: switchback_blocks
WITH lists AS (
    SELECT floor(extract(epoch FROM l.served_at) / %(seconds)s)::bigint AS block, count(*) AS lists,
           sum(l.requested) AS asked, sum(cardinality(l.artwork_keys)) AS returned,
           count(*) FILTER (WHERE l.reason = 'exhausted') AS stockouts
    FROM vernissage.served_lists AS l
    WHERE l.served_at >= %(start)s AND l.served_at < %(finish)s
      AND mod(extract(epoch FROM l.served_at), %(seconds)s) >= %(washout)s
    GROUP BY 1
), shows AS (
    SELECT floor(extract(epoch FROM e.at) / %(seconds)s)::bigint AS block, count(*) AS displays
    FROM vernissage.events AS e
    WHERE e.kind = 'displayed' AND e.at >= %(start)s AND e.at < %(finish)s
      AND mod(extract(epoch FROM e.at), %(seconds)s) >= %(washout)s
    GROUP BY 1
), ordered AS (
    SELECT floor(extract(epoch FROM o.ordered_at) / %(seconds)s)::bigint AS block, o.cost, o.experiment,
           (SELECT v.detail ->> 'artwork_id' FROM vernissage.order_versions AS v
            WHERE v.order_id = o.order_id AND v.state = 'delivered' LIMIT 1) AS artwork_id,
           EXISTS (SELECT FROM vernissage.order_versions AS v
                   WHERE v.order_id = o.order_id AND v.detail ? 'refunded') AS refunded
    FROM vernissage.orders AS o
    WHERE o.ordered_at >= %(start)s AND o.ordered_at < %(finish)s
      AND mod(extract(epoch FROM o.ordered_at), %(seconds)s) >= %(washout)s
), shown AS (
    SELECT DISTINCT k.artwork_id
    FROM ordered AS o JOIN vernissage.artwork_keys AS k ON k.artwork_id = o.artwork_id
    JOIN vernissage.seen AS s ON s.artwork_key = k.artwork_key AND s.loaded_by IS NULL
)
SELECT b.block, coalesce(max(l.lists), 0) AS lists, coalesce(max(l.asked), 0) AS asked,
       coalesce(max(l.returned), 0) AS returned, coalesce(max(l.stockouts), 0) AS stockouts,
       coalesce(max(d.displays), 0) AS displays, count(o.block) AS orders,
       coalesce(sum(o.cost) FILTER (WHERE NOT o.refunded), 0) AS dollars, count(o.artwork_id) AS delivered,
       count(o.artwork_id) FILTER (WHERE s.artwork_id IS NULL) AS unshown,
       count(o.block) FILTER (WHERE o.experiment IS NULL OR NOT o.experiment @> b.experiment) AS strays
FROM unnest(%(blocks)s::bigint[], %(experiments)s::jsonb[]) AS b (block, experiment)
LEFT JOIN lists AS l USING (block) LEFT JOIN shows AS d USING (block) LEFT JOIN ordered AS o USING (block)
LEFT JOIN shown AS s ON s.artwork_id = o.artwork_id
GROUP BY b.block ORDER BY b.block;

-- Lists as they were served ---------------------------------------------------------------------------------------

-- name: served_list
SELECT * FROM vernissage.served_lists WHERE recommendation_id = %(recommendation_id)s;

-- What a user had seen at a time, as a session counts it; marks that came later about earlier are left out.
-- name: seen_then
SELECT string_agg(int4send(s.artwork_key), ''::bytea) FROM vernissage.seen AS s
WHERE s.user_id = %(user_id)s AND s.seen_at <= %(at)s
  AND (s.loaded_by IS NULL OR s.loaded_by <> %(session_id)s)
  AND s.artwork_key NOT IN (SELECT e.artwork_key FROM vernissage.events AS e WHERE e.user_id = %(user_id)s
                            GROUP BY e.artwork_key HAVING min(e.received_at) > %(at)s AND min(e.at) <= %(at)s);

-- The signals that user_states gave at a time.
-- name: signals_then
SELECT string_agg(int4send(r.artwork_key), ''::bytea) AS keys,
       string_agg(int4send(array_position(%(kinds)s::text[], r.kind) - 1), ''::bytea) AS kinds,
       string_agg(float4send(coalesce(r.value, 'NaN')), ''::bytea) AS values,
       string_agg(float4send((date_part('epoch', %(at)s - r.at) / 86400)::real), ''::bytea) AS ages
FROM (
    (SELECT t.artwork_key, t.kind, t.value, t.at FROM vernissage.events AS t
     WHERE t.user_id = %(user_id)s AND t.kind <> 'displayed' AND t.received_at <= %(at)s
     ORDER BY t.at DESC LIMIT %(signals)s)
    UNION ALL
    (SELECT d.artwork_key, d.kind, d.value, d.at FROM vernissage.events AS d
     WHERE d.user_id = %(user_id)s AND d.kind = 'displayed' AND d.received_at <= %(at)s
     ORDER BY d.at DESC LIMIT %(signals)s)
    {favourites}
) AS r;

-- name: favourites_then
UNION ALL
(SELECT k.artwork_key, 'favourite', NULL::real, n.created_at AT TIME ZONE 'UTC'
 FROM public.art_favorites AS n JOIN vernissage.artwork_keys AS k ON k.artwork_id = n.artwork_id
 WHERE n.user_id = %(user_id)s AND n.created_at AT TIME ZONE 'UTC' <= %(at)s
 ORDER BY n.created_at DESC LIMIT %(signals)s);

-- The lists that were drawn, in order of time, and what of them their users liked.
-- name: drawn_lists
SELECT l.recommendation_id, l.user_id, l.session_id, l.served_at, l.artwork_keys, l.sampler, l.head_keys, l.head_scores,
       ARRAY(SELECT DISTINCT e.artwork_key FROM vernissage.events AS e
             WHERE e.user_id = l.user_id AND e.kind IN ('like', 'favourite') AND e.at >= l.served_at
               AND e.artwork_key = ANY (l.artwork_keys)) AS liked
FROM vernissage.served_lists AS l
WHERE l.sampler IS NOT NULL AND l.served_at >= statement_timestamp() - make_interval(days => %(days)s)
ORDER BY l.served_at, l.recommendation_id;

-- Learning --------------------------------------------------------------------------------------------------------
-- Read with COPY. Times are microseconds since 1970 in UTC; the host's clockless stamps mean UTC.

-- Everything that was ever seen counts as displayed, also what the host has pruned since.
-- name: learn_keys
SELECT artwork_key, artwork_id FROM vernissage.artwork_keys;

-- Tables are read whole here: until the transaction ends they are hashed in memory, where they would go through files.
-- name: learn_memory
SET LOCAL work_mem = '256MB';

-- One row a user, its events packed (features.event_frames): a row an event costs ten times as much to send and read.
-- In one aggregate, which is what costs; the planner believes each to need 8 kB a row, and would rather go through files.
-- name: learn_seen
SELECT s.user_id, 'displayed' AS kind,
       string_agg(int4send(s.artwork_key) || timestamptz_send(s.seen_at) || '\x7fc00000'::bytea, ''::bytea) AS events
FROM vernissage.seen AS s GROUP BY s.user_id;

-- name: learn_impressions
SELECT i.user_id, i.artwork_id, 'displayed' AS kind, NULL::real AS value,
       (date_part('epoch', i.viewed_at) * 1000000)::bigint AS at
FROM public.user_art_impressions AS i
LEFT JOIN vernissage.artwork_keys AS k ON k.artwork_id = i.artwork_id
LEFT JOIN vernissage.seen_bits AS b ON b.user_id = i.user_id AND b.block = k.artwork_key >> 10
WHERE coalesce(get_bit(b.bits, k.artwork_key & 1023), 0) = 0;

-- name: learn_events
SELECT e.user_id, e.kind,
       string_agg(int4send(e.artwork_key) || timestamptz_send(e.at) || float4send(coalesce(e.value, 'NaN')), ''::bytea)
           AS events
FROM vernissage.events AS e WHERE e.kind <> 'displayed' GROUP BY e.user_id, e.kind;

-- name: learn_favourites
SELECT f.user_id, f.artwork_id, 'favourite' AS kind, NULL::real AS value,
       (date_part('epoch', f.created_at) * 1000000)::bigint AS at
FROM public.art_favorites AS f;

-- Votes name neither user nor artwork: the prompt and the session must each lead to exactly one, else they lead to NULL.
-- (With HAVING in the place of CASE the planner expects a single session, and compares every vote with every session.)
-- name: learn_votes
WITH prompts AS (
    SELECT a.prompt, CASE WHEN count(*) = 1 THEN min(a.id) END AS artwork_id
    FROM public.art_sessions AS a GROUP BY a.prompt
), people AS (
    SELECT n.session_id, CASE WHEN min(n.user_id) = max(n.user_id) THEN min(n.user_id) END AS user_id
    FROM ({sessions}) AS n WHERE n.session_id IN (SELECT v.session_id FROM public.art_votes AS v)
    GROUP BY n.session_id
)
SELECT u.user_id, p.artwork_id,
       CASE WHEN v.vote > 0 THEN 'like' ELSE 'dislike' END AS kind, NULL::real AS value,
       (date_part('epoch', v.created_at) * 1000000)::bigint AS at
FROM public.art_votes AS v
LEFT JOIN prompts AS p ON p.prompt = v.art_prompt
LEFT JOIN people AS u ON u.session_id = v.session_id
WHERE v.vote <> 0;

-- name: learn_sessions
SELECT session_id, user_id FROM vernissage.sessions UNION ALL SELECT session_id, user_id FROM vernissage.served_lists;

-- name: learn_host_sessions
SELECT client_session_id, user_id FROM public.rai_sessions
WHERE client_session_id IS NOT NULL AND user_id IS NOT NULL;

-- Import ----------------------------------------------------------------------------------------------------------
-- Each chunk is copied into a temporary table that its own commit drops, then spread from there in whole sets.

-- name: has_schema
SELECT to_regclass('vernissage.migrations') IS NOT NULL;

-- name: has_own_host_tables
SELECT EXISTS (SELECT FROM vernissage.migrations WHERE name = 'host_tables.sql');

-- name: stage_interactions
CREATE TEMP TABLE staged_interactions (
    ordinal integer, user_id text, artwork_id text, kind text, value real, at timestamptz
) ON COMMIT DROP;

-- name: copy_interactions
COPY pg_temp.staged_interactions (ordinal, user_id, artwork_id, kind, value, at) FROM STDIN;

-- name: analyze_interactions
ANALYZE pg_temp.staged_interactions;

-- A host's users and pool are the host's: what it does not hold is taken out again and named.
-- name: refuse_strangers
DELETE FROM pg_temp.staged_interactions AS s
USING pg_temp.staged_interactions AS n
LEFT JOIN public.users AS u ON u.id = n.user_id
LEFT JOIN public.art_sessions AS a ON a.id = n.artwork_id
WHERE s.ordinal = n.ordinal AND (u.id IS NULL OR a.id IS NULL)
RETURNING s.ordinal, CASE WHEN a.id IS NULL THEN 'artwork is not in the pool' ELSE 'user is not in users' END;

-- name: import_users
INSERT INTO public.users (id)
SELECT DISTINCT s.user_id FROM pg_temp.staged_interactions AS s
WHERE NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = s.user_id)
ORDER BY s.user_id
ON CONFLICT DO NOTHING;

-- name: missing_artworks
SELECT s.artwork_id, coalesce(min(s.at), %(started)s) FROM pg_temp.staged_interactions AS s
WHERE NOT EXISTS (SELECT FROM public.art_sessions AS a WHERE a.id = s.artwork_id)
GROUP BY s.artwork_id
ORDER BY s.artwork_id;

-- name: import_missing_artworks
INSERT INTO public.art_sessions (id, session_id, user_id, image_url, prompt, is_library, created_at)
SELECT n.id, 'catalogue-seed', 'system', n.image_url, 'artwork ' || n.id, true, n.created_at AT TIME ZONE 'UTC'
FROM unnest(%(ids)s::text[], %(image_urls)s::text[], %(created)s::timestamptz[]) AS n (id, image_url, created_at)
ON CONFLICT DO NOTHING;

-- name: import_keys
INSERT INTO vernissage.artwork_keys (artwork_id)
SELECT DISTINCT s.artwork_id FROM pg_temp.staged_interactions AS s
WHERE NOT EXISTS (SELECT FROM vernissage.artwork_keys AS k WHERE k.artwork_id = s.artwork_id)
ORDER BY s.artwork_id
ON CONFLICT DO NOTHING;

-- name: import_seen
INSERT INTO vernissage.seen AS m (user_id, artwork_key, seen_at)
SELECT s.user_id, k.artwork_key, min(coalesce(s.at, %(started)s))
FROM pg_temp.staged_interactions AS s JOIN vernissage.artwork_keys AS k USING (artwork_id)
GROUP BY s.user_id, k.artwork_key
ORDER BY s.user_id, k.artwork_key
ON CONFLICT (user_id, artwork_key) DO UPDATE SET seen_at = excluded.seen_at WHERE excluded.seen_at < m.seen_at;

-- The key is made of what the row says, so that a second import finds its events; JSON keeps the parts apart.
-- name: import_events
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, value)
SELECT md5(jsonb_build_array('import', s.user_id, s.artwork_id, s.kind, extract(epoch FROM s.at))::text)::uuid,
       s.user_id, k.artwork_key, s.kind, coalesce(s.at, %(started)s), s.value
FROM pg_temp.staged_interactions AS s JOIN vernissage.artwork_keys AS k USING (artwork_id)
ORDER BY s.ordinal
ON CONFLICT DO NOTHING;

-- name: import_impressions
INSERT INTO public.user_art_impressions (id, user_id, artwork_id, viewed_at)
SELECT gen_random_uuid()::text, s.user_id, s.artwork_id, min(coalesce(s.at, %(started)s)) AT TIME ZONE 'UTC'
FROM pg_temp.staged_interactions AS s
GROUP BY s.user_id, s.artwork_id
ORDER BY s.user_id, s.artwork_id
ON CONFLICT DO NOTHING;

-- name: stage_artworks
CREATE TEMP TABLE staged_artworks (
    ordinal integer, id text, image_url text, prompt text, dna text, styles text[], artists text[], motifs text[],
    orientation text, quality float8, created_at timestamptz
) ON COMMIT DROP;

-- name: copy_artworks
COPY pg_temp.staged_artworks (
    ordinal, id, image_url, prompt, dna, styles, artists, motifs, orientation, quality, created_at
) FROM STDIN;

-- Only columns that this host has; the first row of an id counts.
-- name: import_artworks
INSERT INTO public.art_sessions ({columns})
SELECT {values} FROM pg_temp.staged_artworks AS s
ORDER BY s.ordinal
ON CONFLICT DO NOTHING;

-- Synthetic world -------------------------------------------------------------------------------------------------
-- A world's rows are copied into temporary tables by row number and spread from there; all in one transaction.

-- Two runs at once write one world.
-- name: world_lock
SELECT pg_advisory_xact_lock(hashtextextended('vernissage.world', 0));

-- name: world_present
SELECT (SELECT count(*) FROM public.users), (SELECT count(*) FROM public.art_sessions),
       (SELECT count(*) FROM public.art_sessions AS a WHERE a.id = ANY(%(ids)s));

-- name: world_tables
CREATE TEMP TABLE world_artworks (
    artwork_row integer PRIMARY KEY, id text, session_id text, user_id text, image_url text, prompt text,
    dna_vector text, motifs text[], quality_score float8, pool_status text, styles text[], artists text[],
    is_library boolean, orientation text, created_at timestamp, artwork_key integer
) ON COMMIT DROP;
CREATE TEMP TABLE world_users (
    user_row integer PRIMARY KEY, id text, email text, subscription_tier text, preferred_orientation text,
    style_preferences text, created_at timestamp, updated_at timestamp
) ON COMMIT DROP;
CREATE TEMP TABLE world_sessions (
    session_row integer PRIMARY KEY, id text, user_row integer, started_at timestamp, ended_at timestamp,
    by_host_client boolean
) ON COMMIT DROP;
CREATE TEMP TABLE world_exposures (
    user_row integer, artwork_row integer, session_row integer, shown_at timestamptz, dwell real, vote smallint,
    favourite boolean, skip boolean
) ON COMMIT DROP;

-- name: world_copy
COPY pg_temp.{table} ({columns}) FROM STDIN;

-- name: world_copy_exposures
COPY pg_temp.world_exposures FROM STDIN (FORMAT binary);

-- name: world_analyze_stage
ANALYZE pg_temp.world_artworks, pg_temp.world_users, pg_temp.world_sessions;

-- name: world_put_artworks
INSERT INTO public.art_sessions ({columns}) SELECT {columns} FROM pg_temp.world_artworks ORDER BY artwork_row;

-- A pending artwork gets its key when it becomes active.
-- name: world_put_keys
INSERT INTO vernissage.artwork_keys (artwork_id)
SELECT w.id FROM pg_temp.world_artworks AS w WHERE w.pool_status IS DISTINCT FROM 'pending'
ORDER BY w.artwork_row
ON CONFLICT DO NOTHING;

-- name: world_note_keys
UPDATE pg_temp.world_artworks AS w SET artwork_key = k.artwork_key
FROM vernissage.artwork_keys AS k WHERE k.artwork_id = w.id;

-- name: world_put_users
INSERT INTO public.users ({columns}) SELECT {columns} FROM pg_temp.world_users ORDER BY user_row;

-- name: world_put_sessions
INSERT INTO public.rai_sessions (id, user_id, client_session_id, started_at, ended_at, duration_seconds)
SELECT md5('session/' || s.id)::uuid::text, u.id, s.id, s.started_at, s.ended_at,
       round(extract(epoch FROM s.ended_at - s.started_at))::integer
FROM pg_temp.world_sessions AS s JOIN pg_temp.world_users AS u USING (user_row)
ORDER BY s.started_at;

-- name: world_put_impressions
INSERT INTO public.user_art_impressions (id, user_id, artwork_id, viewed_at)
SELECT md5('impression/' || u.id || '/' || w.id)::uuid::text, u.id, w.id, e.shown_at AT TIME ZONE 'UTC'
FROM pg_temp.world_exposures AS e
JOIN pg_temp.world_users AS u USING (user_row)
JOIN pg_temp.world_artworks AS w USING (artwork_row);

-- name: world_put_seen
INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
SELECT u.id, w.artwork_key, e.shown_at
FROM pg_temp.world_exposures AS e
JOIN pg_temp.world_users AS u USING (user_row)
JOIN pg_temp.world_artworks AS w USING (artwork_row);

-- A display, its dwell, and what was done at the end of the dwell.
-- name: world_put_events
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, received_at, session_id, value)
SELECT md5(d.kind || '/' || u.id || '/' || w.id)::uuid, u.id, w.artwork_key, d.kind, d.at, d.at, s.id, d.value
FROM pg_temp.world_exposures AS e
JOIN pg_temp.world_users AS u USING (user_row)
JOIN pg_temp.world_artworks AS w USING (artwork_row)
JOIN pg_temp.world_sessions AS s USING (session_row)
CROSS JOIN LATERAL (VALUES
    ('displayed', true, e.shown_at, NULL::real),
    ('dwell', true, e.shown_at + make_interval(secs => e.dwell), e.dwell),
    ('skip', e.skip, e.shown_at + make_interval(secs => e.dwell), NULL),
    ('like', e.vote > 0 AND NOT s.by_host_client, e.shown_at + make_interval(secs => e.dwell), NULL),
    ('dislike', e.vote < 0 AND NOT s.by_host_client, e.shown_at + make_interval(secs => e.dwell), NULL),
    ('favourite', e.favourite AND NOT s.by_host_client, e.shown_at + make_interval(secs => e.dwell), NULL)
) AS d (kind, done, at, value)
WHERE d.done;

-- name: world_put_votes
INSERT INTO public.art_votes (id, session_id, art_prompt, vote, created_at)
SELECT md5('vote/' || s.id || '/' || w.id)::uuid::text, s.id, w.prompt, e.vote,
       (e.shown_at + make_interval(secs => e.dwell)) AT TIME ZONE 'UTC'
FROM pg_temp.world_exposures AS e
JOIN pg_temp.world_artworks AS w USING (artwork_row)
JOIN pg_temp.world_sessions AS s USING (session_row)
WHERE e.vote <> 0 AND s.by_host_client;

-- name: world_put_favourites
INSERT INTO public.art_favorites (id, user_id, artwork_id, created_at)
SELECT md5('favourite/' || u.id || '/' || w.id)::uuid::text, u.id, w.id,
       (e.shown_at + make_interval(secs => e.dwell)) AT TIME ZONE 'UTC'
FROM pg_temp.world_exposures AS e
JOIN pg_temp.world_users AS u USING (user_row)
JOIN pg_temp.world_artworks AS w USING (artwork_row)
JOIN pg_temp.world_sessions AS s USING (session_row)
WHERE e.favourite AND s.by_host_client;

-- name: world_next_block
TRUNCATE pg_temp.world_exposures;

-- name: world_absorbed
INSERT INTO vernissage.absorbed (user_id, host_rows, host_latest)
SELECT i.user_id, count(*), max(i.viewed_at) FROM public.user_art_impressions AS i GROUP BY i.user_id
ON CONFLICT (user_id) DO UPDATE SET host_rows = excluded.host_rows, host_latest = excluded.host_latest;

-- name: world_analyze
ANALYZE public.users, public.art_sessions, public.user_art_impressions, vernissage.artwork_keys, vernissage.seen,
        vernissage.events, vernissage.absorbed;

-- Publishing ------------------------------------------------------------------------------------------------------

-- name: lock_publishing
SELECT pg_advisory_xact_lock(hashtextextended('vernissage.publish', 0));

-- name: set_live_model
INSERT INTO vernissage.live_models (alias, version, bundle_path, digest)
VALUES (%(alias)s, %(version)s, %(bundle_path)s, %(digest)s)
ON CONFLICT (alias) DO UPDATE SET
    version = excluded.version, bundle_path = excluded.bundle_path, digest = excluded.digest, moved_at = now(),
    refused_version = NULL, refused_reason = NULL, refused_at = NULL, drift = NULL;

-- name: note_drift
UPDATE vernissage.live_models SET drift = %(drift)s WHERE alias = %(alias)s;

-- name: refuse_model
UPDATE vernissage.live_models SET refused_version = %(version)s, refused_reason = %(reason)s, refused_at = now()
WHERE alias = %(alias)s;

-- What happened to the models, oldest first.
-- name: model_history
SELECT action, subject FROM vernissage.audit_log WHERE action IN ('publish', 'rollback', 'refuse') ORDER BY entry_id;

-- The host's routes -----------------------------------------------------------------------------------------------

-- What a session last asked with, and what its user chose in general.
-- name: host_profile
SELECT s.filters, u.*, {chosen} AS chosen_styles
FROM (SELECT 1) AS one
LEFT JOIN vernissage.sessions AS s ON s.user_id = %(user_id)s AND s.session_id = %(session_id)s
LEFT JOIN LATERAL (SELECT {columns} FROM public.users AS h WHERE h.id = %(user_id)s) AS u ON true;

-- What was chosen for this session; looked up only while it has not asked with filters of its own.
-- name: host_chosen_styles
CASE WHEN s.filters IS NULL THEN (
    SELECT p.styles FROM public.art_preferences AS p WHERE p.session_id = %(session_id)s
    ORDER BY p.created_at DESC LIMIT 1) END

-- Note the filters of a session. When they change, all that was ever offered to it is taken out for it: after a change
-- its client takes nothing that it has met before. Leases stay, for an artwork may still be on its screen.
-- name: note_filters
INSERT INTO vernissage.sessions AS s (user_id, session_id, expires_at, filters)
VALUES (%(user_id)s, %(session_id)s, now(), %(filters)s)
ON CONFLICT (user_id, session_id) DO UPDATE SET
    filters = excluded.filters,
    retired = CASE WHEN s.filters IS NULL THEN s.retired ELSE ARRAY(
        SELECT r.artwork_key FROM unnest(s.retired) AS r (artwork_key)
        UNION
        SELECT o.artwork_key FROM vernissage.served_lists AS l, unnest(l.artwork_keys) AS o (artwork_key)
        WHERE l.user_id = s.user_id AND l.session_id = s.session_id AND l.served_at > s.started_at - interval '1 minute')
    END
WHERE s.filters IS DISTINCT FROM excluded.filters;

-- Every artwork that was ever offered to a session; a list may have begun to wait before the session's row was made.
-- name: offered_to_session
SELECT array_agg(k.artwork_id)
FROM vernissage.artwork_keys AS k
WHERE k.artwork_key IN (
    SELECT unnest(l.artwork_keys)
    FROM vernissage.sessions AS s
    JOIN vernissage.served_lists AS l
      ON l.user_id = s.user_id AND l.session_id = s.session_id AND l.served_at > s.started_at - interval '1 minute'
    WHERE s.user_id = %(user_id)s AND s.session_id = %(session_id)s);

-- The job that a session waits for already, else a new one; the user's jobs of long ago go.
-- name: open_job
WITH waiting AS (
    SELECT job_id FROM vernissage.list_jobs
    WHERE user_id = %(user_id)s AND session_id = %(session_id)s
      AND created_at > now() - make_interval(secs => %(seconds)s)
    ORDER BY created_at DESC LIMIT 1
), forgotten AS (
    DELETE FROM vernissage.list_jobs WHERE user_id = %(user_id)s AND created_at < now() - interval '1 hour'
), made AS (
    INSERT INTO vernissage.list_jobs (job_id, user_id, session_id, wanted)
    SELECT %(job_id)s, %(user_id)s, %(session_id)s, %(wanted)s WHERE NOT EXISTS (SELECT FROM waiting)
    RETURNING job_id
)
SELECT job_id FROM waiting UNION ALL SELECT job_id FROM made;

-- name: find_job
SELECT user_id, session_id, wanted, extract(epoch FROM now() - created_at)::float8 AS seconds
FROM vernissage.list_jobs WHERE job_id = %(job_id)s;

-- Keys for those of the named artworks that the host holds.
-- name: register_held_artworks
INSERT INTO vernissage.artwork_keys (artwork_id)
SELECT a.id FROM public.art_sessions AS a
WHERE a.id = ANY(%(artwork_ids)s) AND NOT EXISTS (SELECT FROM vernissage.artwork_keys AS k WHERE k.artwork_id = a.id)
ORDER BY a.id
ON CONFLICT DO NOTHING;

-- A client has these images in memory: marked for all the user's other sessions, and a sign of life. Without a session
-- it is the one that holds the artwork, else none. First sightings stay. Returns the artworks that the host holds.
-- name: record_loaded
WITH sent AS (
    SELECT k.artwork_id, k.artwork_key, a.id IS NOT NULL AS artwork_known, coalesce(%(session_id)s, (
               SELECT o.session_id FROM vernissage.sessions AS o
               WHERE o.user_id = %(user_id)s AND o.expires_at > statement_timestamp() AND k.artwork_key = ANY (o.held)
               ORDER BY o.expires_at DESC LIMIT 1), '') AS session_id
    FROM vernissage.artwork_keys AS k LEFT JOIN public.art_sessions AS a ON a.id = k.artwork_id
    WHERE k.artwork_id = ANY(%(artwork_ids)s)
), marked AS (
    INSERT INTO vernissage.seen (user_id, artwork_key, loaded_by)
    SELECT %(user_id)s, artwork_key, session_id FROM sent ORDER BY artwork_key
    ON CONFLICT DO NOTHING
    RETURNING artwork_key
), hosted AS (
    INSERT INTO public.user_art_impressions (id, user_id, artwork_id, viewed_at)
    SELECT gen_random_uuid()::text, u.id, s.artwork_id, statement_timestamp() AT TIME ZONE 'UTC'
    FROM sent AS s JOIN public.users AS u ON u.id = %(user_id)s
    WHERE s.artwork_known
    ON CONFLICT DO NOTHING
    RETURNING user_id, viewed_at
), followed AS (
    INSERT INTO vernissage.absorbed AS b (user_id, host_rows, host_latest)
    SELECT user_id, count(*), max(viewed_at) FROM hosted GROUP BY user_id
    ON CONFLICT (user_id) DO UPDATE SET
        host_rows = b.host_rows + excluded.host_rows, host_latest = greatest(b.host_latest, excluded.host_latest)
), alive AS (
    UPDATE vernissage.sessions AS o SET
        last_sign_at = statement_timestamp(),
        expires_at = CASE WHEN o.expires_at > statement_timestamp() THEN greatest(o.expires_at,
            statement_timestamp() + make_interval(secs => cardinality(o.held) * %(stretch_seconds)s + %(grace_seconds)s))
            ELSE o.expires_at END
    WHERE o.user_id = %(user_id)s
      AND (o.session_id = %(session_id)s OR o.session_id IN (SELECT session_id FROM sent))
)
SELECT s.artwork_id, s.artwork_known, m.artwork_key IS NOT NULL AS marked
FROM sent AS s LEFT JOIN marked AS m USING (artwork_key);

-- How each named artwork stands with a user: known to the host, shown before, on lease to whom, loaded by whom.
-- name: sightings
SELECT n.artwork_id, k.artwork_key IS NOT NULL AS keyed, a.id IS NOT NULL AS artwork_known,
       v.artwork_key IS NOT NULL AND v.loaded_by IS NULL AS shown, v.loaded_by, h.session_id AS holder
FROM unnest(%(artwork_ids)s::text[]) WITH ORDINALITY AS n (artwork_id, place)
LEFT JOIN vernissage.artwork_keys AS k ON k.artwork_id = n.artwork_id
LEFT JOIN public.art_sessions AS a ON a.id = n.artwork_id
LEFT JOIN vernissage.seen AS v ON v.user_id = %(user_id)s AND v.artwork_key = k.artwork_key
LEFT JOIN LATERAL (
    SELECT o.session_id FROM vernissage.sessions AS o
    WHERE o.user_id = %(user_id)s AND o.expires_at > now() AND k.artwork_key = ANY (o.held)
    ORDER BY o.expires_at DESC LIMIT 1
) AS h ON true
ORDER BY n.place;

-- What is going on now: sessions with live leases, and displays a minute.
-- name: pool_monitor
SELECT count(*) AS sessions,
       count(*) FILTER (WHERE coalesce(s.last_sign_at, s.leases_from) > now() - interval '5 minutes') AS active,
       count(DISTINCT s.user_id) AS users,
       coalesce(avg(cardinality(s.held)), 0)::float8 AS held,
       (SELECT count(*) / 5.0 FROM vernissage.events AS e
        WHERE e.kind = 'displayed' AND e.received_at > now() - interval '5 minutes')::float8 AS per_minute
FROM vernissage.sessions AS s WHERE s.expires_at > now();

-- What the users with live leases have seen, for a bounded number of them.
-- name: seen_by_live_users
SELECT (SELECT string_agg(int4send(v.block) || bit_send(v.bits), ''::bytea) FROM vernissage.seen_bits AS v
        WHERE v.user_id = u.user_id)
FROM (SELECT DISTINCT s.user_id FROM vernissage.sessions AS s WHERE s.expires_at > now() LIMIT %(users)s) AS u;

-- name: pregenerations
SELECT count(*) FILTER (WHERE j.status = 'processing'), count(*) FILTER (WHERE j.status = 'pending')
FROM public.generation_jobs AS j
WHERE j.status IN ('processing', 'pending') AND j.payload ~ '"isPreGeneration"\s*:\s*true';

-- Orders for new artworks -----------------------------------------------------------------------------------------

-- A row for whoever plans the epoch first; whoever comes second waits here until the first has committed.
-- name: open_epoch
INSERT INTO vernissage.planning_epochs (epoch, wished, placed) VALUES (%(epoch)s, %(wished)s, 0)
ON CONFLICT DO NOTHING RETURNING epoch;

-- name: close_epoch
UPDATE vernissage.planning_epochs SET placed = %(placed)s WHERE epoch = %(epoch)s;

-- An epoch in which nothing was placed is as free as before: whoever waited for it may order.
-- name: free_epoch
DELETE FROM vernissage.planning_epochs WHERE epoch = %(epoch)s;

-- Of these users, whom the host has, or who was here of late and whom it never had.
-- name: users_still_here
SELECT u.user_id FROM unnest(%(user_ids)s::text[]) AS u (user_id)
WHERE EXISTS (SELECT FROM public.users AS p WHERE p.id::text = u.user_id)
   OR EXISTS (SELECT FROM vernissage.sessions AS s WHERE s.user_id = u.user_id);

-- name: place_order
WITH placed AS (
    INSERT INTO vernissage.orders (order_id, epoch, place, dispatcher, user_ids, near, dna, styles, prompt, benefit,
                                   reach, priority, cost, deadline, experiment)
    VALUES (%(order_id)s, %(epoch)s, %(place)s, %(dispatcher)s, %(user_ids)s, %(near)s, %(dna)s, %(styles)s,
            %(prompt)s, %(benefit)s, %(reach)s, %(priority)s, %(cost)s, %(deadline)s, %(experiment)s)
    RETURNING order_id
)
INSERT INTO vernissage.order_versions (order_id, version, state) SELECT order_id, 1, 'planned' FROM placed;

-- The next version, where the newest one allows it; of two at once the primary key lets one through. Nothing is sent
-- while generation is stopped, also by a loop that has not heard of it yet.
-- name: advance_order
INSERT INTO vernissage.order_versions (order_id, version, state, detail)
SELECT v.order_id, v.version + 1, t.new, %(detail)s
FROM (SELECT n.order_id, n.version, n.state FROM vernissage.order_versions AS n
      WHERE n.order_id = %(order_id)s ORDER BY n.version DESC LIMIT 1) AS v
JOIN vernissage.order_transitions AS t ON t.old = v.state AND t.new = %(state)s
WHERE (t.old <> 'expired' OR EXISTS (SELECT FROM vernissage.order_versions AS s
                                     WHERE s.order_id = v.order_id AND s.state = 'sent'))
  AND (t.new <> 'sent' OR NOT (SELECT b.stopped FROM vernissage.budget AS b))
  AND (%(only_from)s::text IS NULL OR t.old = %(only_from)s)
ON CONFLICT DO NOTHING
RETURNING entry;

-- The orders that are not over, the most urgent first; one past its deadline and grace is as good as expired.
-- name: open_orders
SELECT o.*, v.state, v.at AS state_at, v.detail
FROM vernissage.orders AS o
CROSS JOIN LATERAL (SELECT n.state, n.at, n.detail FROM vernissage.order_versions AS n
                    WHERE n.order_id = o.order_id ORDER BY n.version DESC LIMIT 1) AS v
WHERE o.deadline > now() - make_interval(secs => %(grace)s) AND v.state IN ('planned', 'sent', 'running')
ORDER BY o.priority DESC, o.ordered_at, o.place;

-- Orders that ought to have ended. `lately`: due within a day, so that the ledger's whole past is not gone through.
-- name: orders_late
SELECT o.order_id, v.state
FROM vernissage.orders AS o
CROSS JOIN LATERAL (SELECT n.state FROM vernissage.order_versions AS n
                    WHERE n.order_id = o.order_id ORDER BY n.version DESC LIMIT 1) AS v
WHERE o.deadline <= now() - make_interval(secs => %(grace)s)
  AND (NOT %(lately)s OR o.deadline > now() - make_interval(days => 1, secs => %(grace)s))
  AND NOT EXISTS (SELECT FROM vernissage.order_versions AS n WHERE n.order_id = o.order_id
                  AND n.state IN ('delivered', 'failed', 'cancelled', 'expired'));

-- Orders as they were at a time, the latest first; what was ordered later is left out.
-- name: orders_at
SELECT o.*, v.state, v.at AS state_at, v.detail
FROM vernissage.orders AS o
CROSS JOIN LATERAL (SELECT n.state, n.at, n.detail FROM vernissage.order_versions AS n
                    WHERE n.order_id = o.order_id AND n.at <= %(at)s ORDER BY n.version DESC LIMIT 1) AS v
WHERE o.ordered_at <= %(at)s AND (%(state)s::text IS NULL OR v.state = %(state)s)
  AND (%(order_id)s::uuid IS NULL OR o.order_id = %(order_id)s)
ORDER BY o.ordered_at DESC, o.order_id DESC LIMIT %(limit)s;

-- name: order_history
SELECT v.entry, v.version, v.state, v.at, v.detail FROM vernissage.order_versions AS v
WHERE v.order_id = %(order_id)s AND v.entry > %(after)s ORDER BY v.version;

-- name: forget_in_orders
UPDATE vernissage.orders AS o
SET user_ids = ARRAY(SELECT user_id FROM unnest(o.user_ids) AS user_id WHERE user_id <> ALL (%(user_ids)s::text[]))
WHERE o.user_ids && %(user_ids)s::text[];

-- One image's dollars, where hour, day and switch allow it. The statement reads and writes one row: who comes second
-- waits, and is judged by what the first has left.
-- name: spend
UPDATE vernissage.budget AS b
SET dollars = vernissage.bucket_level(b.dollars, b.levelled_at, %(dollars_per_hour)s, %(dollars_at_once)s) - %(cost)s,
    images = vernissage.bucket_level(b.images, b.levelled_at, %(images_per_hour)s, %(images_at_once)s) - 1,
    levelled_at = greatest(b.levelled_at, statement_timestamp()),
    day = greatest(b.day, (statement_timestamp() AT TIME ZONE %(zone)s)::date),
    day_dollars = %(cost)s + CASE WHEN b.day >= (statement_timestamp() AT TIME ZONE %(zone)s)::date
                                  THEN b.day_dollars ELSE 0 END
WHERE NOT b.stopped
  AND vernissage.bucket_level(b.dollars, b.levelled_at, %(dollars_per_hour)s, %(dollars_at_once)s) >= %(cost)s
  AND vernissage.bucket_level(b.images, b.levelled_at, %(images_per_hour)s, %(images_at_once)s) >= 1
  AND %(cost)s + CASE WHEN b.day >= (statement_timestamp() AT TIME ZONE %(zone)s)::date
                      THEN b.day_dollars ELSE 0 END <= %(day_dollars)s
RETURNING b.day_dollars;

-- Back into the bucket, and out of the day where it is still the one that the order was placed on; never below nothing,
-- for when the budget's zone has changed since, the order may have been paid on what was another day then.
-- name: refund
UPDATE vernissage.budget AS b
SET dollars = least(b.dollars + o.cost, %(dollars_at_once)s),
    images = least(b.images + 1, %(images_at_once)s),
    day_dollars = greatest(0, b.day_dollars - CASE WHEN b.day = (o.ordered_at AT TIME ZONE %(zone)s)::date
                                                   THEN o.cost ELSE 0 END)
FROM vernissage.orders AS o WHERE o.order_id = %(order_id)s;

-- name: budget_now
SELECT vernissage.bucket_level(b.dollars, b.levelled_at, %(dollars_per_hour)s, %(dollars_at_once)s)::float8 AS dollars,
       vernissage.bucket_level(b.images, b.levelled_at, %(images_per_hour)s, %(images_at_once)s)::float8 AS images,
       CASE WHEN b.day >= (statement_timestamp() AT TIME ZONE %(zone)s)::date
            THEN b.day_dollars ELSE 0 END::float8 AS day_spent,
       b.stopped, b.stopped_by, b.stopped_at
FROM vernissage.budget AS b;

-- name: switch_generation
UPDATE vernissage.budget
SET stopped = %(stopped)s,
    stopped_by = CASE WHEN %(stopped)s THEN %(actor)s END,
    stopped_at = CASE WHEN %(stopped)s THEN now() END
WHERE stopped <> %(stopped)s;

-- name: make_breaker
INSERT INTO vernissage.breakers (dispatcher, state) VALUES (%(dispatcher)s, %(state)s) ON CONFLICT DO NOTHING;

-- name: lock_breaker
SELECT b.state, extract(epoch FROM clock_timestamp())::float8 AS now
FROM vernissage.breakers AS b WHERE b.dispatcher = %(dispatcher)s FOR UPDATE;

-- name: keep_breaker
UPDATE vernissage.breakers SET state = %(state)s WHERE dispatcher = %(dispatcher)s;

-- name: note_breaker_change
INSERT INTO vernissage.breaker_changes (dispatcher, at, phase)
VALUES (%(dispatcher)s, to_timestamp(%(now)s), %(phase)s);

-- name: breaker_states
SELECT b.dispatcher, b.state FROM vernissage.breakers AS b ORDER BY b.dispatcher;

-- The share of the last so many seconds that the breaker was open, from the last change before them on; before its
-- first change it was closed.
-- name: breaker_open_share
SELECT coalesce(sum(greatest(extract(epoch FROM p.until - greatest(p.at, now() - make_interval(secs => %(seconds)s))),
                             0)), 0)::float8 / %(seconds)s
FROM (SELECT c.at, c.phase, lead(c.at, 1, now()) OVER (ORDER BY c.at, c.entry) AS until
      FROM vernissage.breaker_changes AS c WHERE c.dispatcher = %(dispatcher)s AND c.at >= coalesce(
          (SELECT max(b.at) FROM vernissage.breaker_changes AS b
           WHERE b.dispatcher = %(dispatcher)s AND b.at <= now() - make_interval(secs => %(seconds)s)),
          '-infinity')) AS p
WHERE p.phase = 'open';

-- The lease of a role: taken when it is free or over, renewed by its holder. A lease that was over is a new one.
-- name: take_lead
INSERT INTO vernissage.leaders AS l (role, holder, fence, expires_at)
VALUES (%(role)s, %(holder)s, 1, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (role) DO UPDATE
SET holder = excluded.holder,
    fence = CASE WHEN l.holder = excluded.holder AND l.expires_at > clock_timestamp() THEN l.fence ELSE l.fence + 1 END,
    expires_at = excluded.expires_at
WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp()
RETURNING l.fence;

-- Holds off any other leader until this transaction ends.
-- name: hold_lead
SELECT FROM vernissage.leaders AS l
WHERE l.role = %(role)s AND l.fence = %(fence)s AND l.expires_at > clock_timestamp() FOR SHARE;

-- name: leave_lead
UPDATE vernissage.leaders SET expires_at = clock_timestamp() WHERE role = %(role)s AND holder = %(holder)s;

-- name: current_lead
SELECT l.holder, l.fence, l.expires_at > clock_timestamp() AS live FROM vernissage.leaders AS l WHERE l.role = %(role)s;

-- Pictures are taken in one after the other, so that each is compared with all before it.
-- name: lock_painted
SELECT pg_advisory_xact_lock(hashtextextended('vernissage.painted', 0));

-- The artwork that a picture is too much like, its own earlier self aside.
-- name: painted_alike
SELECT p.artwork_id FROM vernissage.painted AS p
WHERE p.artwork_id <> %(artwork_id)s
  AND (p.content_hash = %(content_hash)s OR bit_count(p.looks # %(looks)s::bit(64)) < %(least_apart)s)
LIMIT 1;

-- name: keep_painted
INSERT INTO vernissage.painted (artwork_id, content_hash, looks)
VALUES (%(artwork_id)s, %(content_hash)s, %(looks)s::bit(64)) ON CONFLICT DO NOTHING;

-- name: artwork_near
SELECT {columns} FROM public.art_sessions AS a WHERE a.id = %(artwork_id)s;

-- name: keep_artwork
INSERT INTO public.art_sessions ({columns}) VALUES ({places}) ON CONFLICT (id) DO NOTHING;

-- Need ------------------------------------------------------------------------------------------------------------
-- Each of these takes many users at once and reads no more of each than a bounded part, by index.

-- What need rests on: what a user has seen, when the latest displays were, and who runs a session now. What a running
-- session has only loaded is still to be seen there. Packed: keys, and ages in seconds, newest first.
-- name: demand_state
SELECT n.user_id, t.tabs,
    (SELECT string_agg(int4send(s.block) || bit_send(s.bits), ''::bytea) FROM vernissage.seen_bits AS s
     WHERE s.user_id = n.user_id) AS seen,
    (SELECT string_agg(int4send(s.artwork_key), ''::bytea) FROM vernissage.seen AS s
     WHERE s.user_id = n.user_id AND s.loaded_by = ANY (t.live)) AS loaded,
    (SELECT string_agg(int4send(least(date_part('epoch', statement_timestamp() - d.at), 2e9)::integer), ''::bytea)
     FROM (SELECT e.at FROM vernissage.events AS e WHERE e.user_id = n.user_id AND e.kind = 'displayed'
           ORDER BY e.at DESC LIMIT %(displays)s) AS d) AS ages,
    u.*
FROM unnest(%(user_ids)s::text[]) WITH ORDINALITY AS n (user_id, place)
LEFT JOIN LATERAL (
    SELECT count(*) AS tabs, array_agg(o.session_id) AS live FROM vernissage.sessions AS o
    WHERE o.user_id = n.user_id AND o.expires_at > statement_timestamp()
) AS t ON true
LEFT JOIN LATERAL (SELECT {columns} FROM public.users AS h WHERE h.id = n.user_id) AS u ON true
ORDER BY n.place;

-- The latest signals of each user, as user_states has them, packed: key, kind (its place in `kinds`), value, age in days.
-- name: taste_state
SELECT n.user_id, r.keys, r.kinds, r.values, r.ages
FROM unnest(%(user_ids)s::text[]) WITH ORDINALITY AS n (user_id, place)
LEFT JOIN LATERAL (
    SELECT string_agg(int4send(g.artwork_key), ''::bytea) AS keys,
           string_agg(int4send(array_position(%(kinds)s::text[], g.kind) - 1), ''::bytea) AS kinds,
           string_agg(float4send(coalesce(g.value, 'NaN')), ''::bytea) AS values,
           string_agg(float4send((date_part('epoch', now() - g.at) / 86400)::real), ''::bytea) AS ages
    FROM (
        (SELECT t.artwork_key, t.kind, t.value, t.at FROM vernissage.events AS t
         WHERE t.user_id = n.user_id AND t.kind <> 'displayed' ORDER BY t.at DESC LIMIT %(signals)s)
        UNION ALL
        (SELECT d.artwork_key, d.kind, d.value, d.at FROM vernissage.events AS d
         WHERE d.user_id = n.user_id AND d.kind = 'displayed' ORDER BY d.at DESC LIMIT %(signals)s)
        {favourites}
    ) AS g
) AS r ON true
ORDER BY n.place;

-- name: taste_favourites
UNION ALL
(SELECT k.artwork_key, 'favourite', NULL::real, f.created_at AT TIME ZONE 'UTC'
 FROM (SELECT m.artwork_id, m.created_at FROM public.art_favorites AS m
       WHERE m.user_id = n.user_id ORDER BY m.created_at DESC LIMIT %(signals)s) AS f
 CROSS JOIN LATERAL (SELECT m.artwork_key FROM vernissage.artwork_keys AS m
                     WHERE m.artwork_id = f.artwork_id LIMIT 1) AS k)

-- Whoever runs a session or was shown something within a week, the latest first, and how many they are in all.
-- name: active_users
SELECT s.user_id, count(*) OVER () FROM vernissage.sessions AS s
WHERE s.expires_at > now() - interval '7 days' AND (s.shown > 0 OR s.expires_at > now())
GROUP BY s.user_id ORDER BY max(s.expires_at) DESC, s.user_id LIMIT %(users)s;

-- From order to artwork, of the latest that were delivered; the wait for a breaker to close is no part of it.
-- name: lead_times
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY d.seconds),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY d.seconds)
FROM (SELECT date_part('epoch', v.at - greatest(o.ordered_at, (
                 SELECT max(c.at) FROM vernissage.breaker_changes AS c
                 WHERE c.dispatcher = o.dispatcher AND c.at <= v.at AND c.phase = 'closed'))) AS seconds
      FROM vernissage.order_versions AS v JOIN vernissage.orders AS o USING (order_id)
      WHERE v.state = 'delivered' ORDER BY v.at DESC LIMIT %(orders)s) AS d;

-- What was lately made for whom: it is relevant to them, whatever a model that has never met it says.
-- name: made_for
SELECT o.user_ids, k.artwork_key
FROM (SELECT v.order_id, v.detail ->> 'artwork_id' AS artwork_id FROM vernissage.order_versions AS v
      WHERE v.state = 'delivered' ORDER BY v.at DESC LIMIT %(orders)s) AS v
JOIN vernissage.orders AS o USING (order_id)
CROSS JOIN LATERAL (SELECT n.artwork_key FROM vernissage.artwork_keys AS n WHERE n.artwork_id = v.artwork_id LIMIT 1) AS k;

-- The looks of the latest orders, so that no two are the same picture.
-- name: ordered_looks
SELECT o.dna FROM vernissage.orders AS o ORDER BY o.epoch DESC, o.place DESC LIMIT %(orders)s;

-- What could be given back: artworks that the host has put aside, the latest first.
-- name: archived_artworks
SELECT {columns}, extract(epoch FROM a.created_at)::float8 AS created, k.artwork_key AS known_key
FROM (SELECT * FROM public.art_sessions AS r WHERE r.pool_status = 'archived' AND {url}
      ORDER BY r.created_at DESC LIMIT %(artworks)s) AS a
LEFT JOIN vernissage.artwork_keys AS k ON k.artwork_id = a.id;

-- name: give_back
UPDATE public.art_sessions AS a SET pool_status = 'active'
WHERE a.id = ANY(%(artwork_ids)s) AND a.pool_status = 'archived'
RETURNING a.id;

-- name: image_known
SELECT FROM public.art_sessions AS a WHERE a.image_url = %(image_url)s AND a.id <> %(artwork_id)s LIMIT 1;

-- The host's queue -------------------------------------------------------------------------------------------------

-- Pre-generations of anybody that wait: one runs at a time, and what waits for 30 s is thrown away.
-- name: host_jobs_waiting
SELECT count(*) FROM public.generation_jobs AS j
WHERE j.status = 'pending' AND j.payload ~ '"isPreGeneration"\s*:\s*true';

-- Who pays: of the users that the host holds, the one with the most credits.
-- name: host_payer
SELECT u.id FROM public.users AS u JOIN public.user_credits AS c ON c.user_id = u.id
WHERE u.id = ANY(%(user_ids)s) AND c.balance + c.rollover_balance > 0
ORDER BY c.balance + c.rollover_balance DESC, u.id LIMIT 1;

-- name: host_job
INSERT INTO public.generation_jobs (id, session_id, user_id, status, priority, payload)
VALUES (%(job_id)s, %(session_id)s, %(user_id)s, 'pending', %(priority)s, %(payload)s) ON CONFLICT (id) DO NOTHING;

-- How a job stands, and its artwork, which stays when the row is deleted; no status: the row is gone.
-- name: host_job_state
SELECT j.status, j.error_message, extract(epoch FROM timezone('UTC', now()) - j.created_at)::float8 AS seconds,
       (SELECT a.id FROM public.art_sessions AS a WHERE a.session_id = %(session_id)s
        ORDER BY a.created_at LIMIT 1) AS artwork_id
FROM (SELECT %(job_id)s::text AS id) AS asked LEFT JOIN public.generation_jobs AS j ON j.id = asked.id;

-- Only while nobody has taken it.
-- name: cancel_host_job
UPDATE public.generation_jobs SET status = 'cancelled', version = version + 1
WHERE id = %(job_id)s AND status = 'pending';

-- Load: people for the generator, and what is stored of them in the end.
-- name: load_add_people
INSERT INTO public.users (id) SELECT unnest(%(user_ids)s::text[]) ON CONFLICT DO NOTHING;

-- name: load_stored
SELECT n.user_id,
       ARRAY(SELECT k.artwork_id FROM vernissage.events AS e JOIN vernissage.artwork_keys AS k USING (artwork_key)
             WHERE e.user_id = n.user_id AND e.kind = 'displayed') AS displayed,
       ARRAY(SELECT k.artwork_id FROM vernissage.seen AS s JOIN vernissage.artwork_keys AS k USING (artwork_key)
             WHERE s.user_id = n.user_id) AS seen,
       ARRAY(SELECT i.artwork_id FROM public.user_art_impressions AS i WHERE i.user_id = n.user_id) AS impressions,
       (SELECT count(*) FROM vernissage.events AS e
        WHERE e.user_id = n.user_id AND e.kind <> 'displayed'
          AND (e.session_id = n.session_id OR starts_with(e.session_id, n.session_id || '.'))) AS signals
FROM unnest(%(user_ids)s::text[], %(session_ids)s::text[]) AS n (user_id, session_id);

-- name: load_size
SELECT pg_database_size(current_database()), (pg_current_wal_insert_lsn() - '0/0')::bigint;
