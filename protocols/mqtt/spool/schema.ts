/**
 * spool.db. A later version adds to the list of migrations; what stands here never changes.
 *
 * A segment's id is its queue's id and its first sequence number in one integer, so that the segments of a queue lie
 * together and in order in the table itself: no index to keep up, and what is done goes with one range. `done` and
 * `released` of a queue are sets (rows.ts), `gap` says in JSON what it had no room for, `sent` up to where it
 * may have been sent; NULL: a receiver may send from it, or nobody knows.
 *
 * A subscription was a part of its session's body once. `options` are those of SUBSCRIBE (MQTT 5.0 §3.8.3.1): QoS, no
 * local 4, retain as published 8, retain handling from bit 4. What is the same for several queues and large is a row of
 * `shared`, which goes with the last segment that names it; the `data` of those is empty. In `inbound` bridges have
 * names that begin with U+0000, which no client id can have (bridge/plan.ts). `sum` is the checksum of the row's other
 * values (sums.ts), of a segment without its data, which have their own; NULL in rows of an older version. A segment
 * without data stands for messages that are lost and whose loss was told.
 *
 * Retained messages lie in the order in which their topics came. In the order of topics, as they were once, a thousand
 * that are set in one go touch a thousand pages, of which each goes to the disk twice: by the log, and by its
 * checkpoint. Which row a topic has is in memory (rows.ts); of two the later counts.
 */
export const MIGRATIONS: readonly string[] = [
  `
CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, done BLOB NOT NULL, released BLOB NOT NULL);
CREATE TABLE segment (id INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE inbound (client_id TEXT NOT NULL, packet_id INTEGER NOT NULL, PRIMARY KEY (client_id, packet_id)) WITHOUT ROWID;
CREATE TABLE session (client_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE retained (topic TEXT PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID;
`,
  `
CREATE TABLE subscription (client_id TEXT NOT NULL, filter TEXT NOT NULL, options INTEGER NOT NULL, subscription_id INTEGER, PRIMARY KEY (client_id, filter)) WITHOUT ROWID;
INSERT OR REPLACE INTO subscription (client_id, filter, options, subscription_id)
  SELECT session.client_id, json_extract(value, '$.filter'),
    coalesce(json_extract(value, '$.qos'), 0) + coalesce(json_extract(value, '$.noLocal'), 0) * 4 + coalesce(json_extract(value, '$.retainAsPublished'), 0) * 8
      + coalesce(json_extract(value, '$.retainHandling'), 0) * 16, json_extract(value, '$.subscriptionId')
  FROM session, json_each(CASE WHEN json_valid(session.body) THEN session.body ELSE '{}' END, '$.subscriptions') WHERE type = 'object' AND json_extract(value, '$.filter') IS NOT NULL;
UPDATE session SET body = json_remove(body, '$.subscriptions') WHERE json_valid(body);
`,
  `
UPDATE OR REPLACE inbound SET client_id = char(0) || client_id WHERE client_id GLOB 'bridge/*' AND client_id NOT IN (SELECT client_id FROM session);
`,
  `
CREATE TABLE shared (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
ALTER TABLE segment ADD COLUMN shared_id INTEGER;
CREATE INDEX segment_shared ON segment (shared_id) WHERE shared_id IS NOT NULL;
CREATE TRIGGER segment_gone AFTER DELETE ON segment WHEN OLD.shared_id IS NOT NULL BEGIN
  DELETE FROM shared WHERE id = OLD.shared_id AND NOT EXISTS (SELECT 1 FROM segment WHERE shared_id = OLD.shared_id);
END;
`,
  `
ALTER TABLE queue ADD COLUMN gap TEXT;
`,
  `
ALTER TABLE queue ADD COLUMN sum INTEGER;
ALTER TABLE segment ADD COLUMN sum INTEGER;
ALTER TABLE inbound ADD COLUMN sum INTEGER;
ALTER TABLE session ADD COLUMN sum INTEGER;
ALTER TABLE subscription ADD COLUMN sum INTEGER;
`,
  `
ALTER TABLE queue ADD COLUMN sent INTEGER;
`,
  `
CREATE TABLE retained_message (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, message BLOB NOT NULL);
INSERT INTO retained_message (topic, message) SELECT topic, message FROM retained;
DROP TABLE retained;
ALTER TABLE retained_message RENAME TO retained;
`,
]

/** 44 bits of sequence number: 55 years at 10,000 messages per second in one queue. */
const MAX_SEQ = 2 ** 44 - 1
/** What is left of SQLite's 63 bits. */
export const MAX_QUEUE_ID = 2 ** 19 - 2
/** Rows per question when the spool opens: the storage thread's heap is small. */
export const ROWS_PER_PAGE = 2_000

// JavaScript's numbers reach SQLite as floating point; | and << make integers of them again without loss.
// Parameters are positional: better-sqlite3 takes ?1 for a name.
export const SEGMENT_ID = '((? << 44) | ?)'
export const SQL = {
  queues:
    'SELECT id, name, first_seq, last_seq, done, released, gap, sum, sent FROM queue WHERE id > ? ORDER BY id LIMIT ?',
  places: `SELECT id >> 44 AS queue_id, id & ${MAX_SEQ} AS first_seq, last_seq, CASE WHEN shared_id IS NULL THEN length(data) ELSE (SELECT length(data) FROM shared WHERE id = shared_id) END AS bytes FROM segment WHERE id > ${SEGMENT_ID} ORDER BY id LIMIT ?`,
  placeSums: `SELECT segment.id >> 44 AS queue_id, segment.id & ${MAX_SEQ} AS first_seq, last_seq, shared_id, sum FROM json_each(?) CROSS JOIN segment ON segment.id = ((value ->> 0) << 44 | (value ->> 1))`,
  segments: `SELECT segment.id >> 44 AS queue_id, segment.id & ${MAX_SEQ} AS first_seq, last_seq, length(coalesce(shared.data, segment.data)) AS bytes, shared_id, sum FROM segment LEFT JOIN shared ON shared.id = shared_id WHERE segment.id > ${SEGMENT_ID} ORDER BY segment.id LIMIT ?`,
  segmentsFromTo: `SELECT segment.id >> 44 AS queue_id, segment.id & ${MAX_SEQ} AS first_seq, last_seq, shared_id, sum, coalesce(shared.data, segment.data) AS data FROM segment LEFT JOIN shared ON shared.id = shared_id WHERE segment.id >= ${SEGMENT_ID} AND segment.id <= ${SEGMENT_ID}`,
  inbound:
    'SELECT client_id, packet_id, sum FROM inbound WHERE (client_id, packet_id) > (?, ?) ORDER BY client_id, packet_id LIMIT ?',
  sessions: 'SELECT client_id, body, sum FROM session WHERE client_id > ? ORDER BY client_id LIMIT ?',
  subscriptions:
    'SELECT client_id, filter, options, subscription_id, sum FROM subscription WHERE (client_id, filter) > (?, ?) ORDER BY client_id, filter LIMIT ?',
  spareBytes: 'SELECT freelist_count * page_size AS bytes FROM pragma_freelist_count, pragma_page_size',
  retained: 'SELECT id, topic, message FROM retained WHERE id > ? ORDER BY id LIMIT ?',

  addQueue:
    'INSERT OR REPLACE INTO queue (id, name, first_seq, last_seq, done, released, sum) VALUES (?, ?, 1, 0, ?, ?, ?)',
  putQueue:
    'INSERT INTO queue (id, name, first_seq, last_seq, done, released, gap, sum, sent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET first_seq = excluded.first_seq, last_seq = excluded.last_seq, done = excluded.done, released = excluded.released, gap = excluded.gap, sum = excluded.sum, sent = excluded.sent',
  dropQueue: 'DELETE FROM queue WHERE id = ?',
  putSegment: `INSERT OR REPLACE INTO segment (id, last_seq, data, sum) VALUES (${SEGMENT_ID}, ?, ?, ?)`,
  putShared: 'INSERT INTO shared (id, data) VALUES (? | 0, ?)',
  putSharedSegment: `INSERT OR REPLACE INTO segment (id, last_seq, data, shared_id, sum) VALUES (${SEGMENT_ID}, ?, x'', ? | 0, ?)`,
  lastShared: 'SELECT max(id) AS id FROM shared',
  dropSegmentsBelow: `DELETE FROM segment WHERE id >= (? << 44) AND id < ${SEGMENT_ID}`,
  dropSegment: `DELETE FROM segment WHERE id = ${SEGMENT_ID}`,
  dropSegmentsAbove: `DELETE FROM segment WHERE id > ${SEGMENT_ID} AND id < ((? + 1) << 44)`,
  addInbound: 'INSERT OR IGNORE INTO inbound (client_id, packet_id, sum) VALUES (?, ?, ?)',
  dropInbound: 'DELETE FROM inbound WHERE client_id = ? AND packet_id = ?',
  dropInboundOf: 'DELETE FROM inbound WHERE client_id = ?',
  putSession: 'INSERT OR REPLACE INTO session (client_id, body, sum) VALUES (?, ?, ?)',
  dropSession: 'DELETE FROM session WHERE client_id = ?',
  putSubscription:
    'INSERT OR REPLACE INTO subscription (client_id, filter, options, subscription_id, sum) VALUES (?, ?, ? | 0, ? | 0, ?)',
  dropSubscription: 'DELETE FROM subscription WHERE client_id = ? AND filter = ?',
  putSubscriptions:
    'INSERT OR REPLACE INTO subscription (client_id, filter, options, subscription_id, sum) SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)',
  dropSubscriptions: 'DELETE FROM subscription WHERE client_id = ? AND filter IN (SELECT value FROM json_each(?))',
  dropSubscriptionsOf: 'DELETE FROM subscription WHERE client_id = ?',
  putRetained:
    'INSERT OR REPLACE INTO retained (id, topic, message) SELECT value ->> 0, value ->> 1, substr(?, value ->> 2, value ->> 3) FROM json_each(?)',
  dropRetained: 'DELETE FROM retained WHERE id = ?',
} as const
