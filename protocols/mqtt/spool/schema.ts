/** spool.db. A later version adds to the list; what stands here never changes. */
export const MIGRATIONS: readonly string[] = [`
CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, done BLOB NOT NULL);
CREATE TABLE segment (id INTEGER PRIMARY KEY, queue_id INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, bytes INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX segment_of_queue ON segment (queue_id, first_seq);
CREATE TABLE released (queue_id INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (queue_id, seq)) WITHOUT ROWID;
CREATE TABLE inbound (client_id TEXT NOT NULL, packet_id INTEGER NOT NULL, PRIMARY KEY (client_id, packet_id)) WITHOUT ROWID;
CREATE TABLE session (client_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE retained (topic TEXT PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID;
`]

export const SQL = {
  queues: 'SELECT id, name, first_seq, last_seq, done FROM queue',
  segmentSizes: 'SELECT queue_id, first_seq, last_seq, bytes FROM segment ORDER BY queue_id, first_seq',
  segmentsAfter: 'SELECT first_seq, data FROM segment WHERE queue_id = ? AND first_seq >= (SELECT COALESCE(MAX(first_seq), 0) FROM segment WHERE queue_id = ? AND first_seq <= ?) ORDER BY first_seq LIMIT ?',
  released: 'SELECT queue_id, seq FROM released',
  inbound: 'SELECT client_id, packet_id FROM inbound',
  sessions: 'SELECT client_id, body FROM session',
  retained: 'SELECT topic, message FROM retained',

  addQueue: 'INSERT INTO queue (id, name, first_seq, last_seq, done) VALUES (?, ?, 1, 0, ?)',
  moveQueue: 'UPDATE queue SET first_seq = ?, last_seq = ?, done = ? WHERE id = ?',
  dropQueue: 'DELETE FROM queue WHERE id = ?',
  addSegment: 'INSERT INTO segment (queue_id, first_seq, last_seq, bytes, data) VALUES (?, ?, ?, ?, ?)',
  dropSegmentsBelow: 'DELETE FROM segment WHERE queue_id = ? AND last_seq < ?',
  dropSegments: 'DELETE FROM segment WHERE queue_id = ?',
  addReleased: 'INSERT OR IGNORE INTO released (queue_id, seq) VALUES (?, ?)',
  dropReleasedBelow: 'DELETE FROM released WHERE queue_id = ? AND seq < ?',
  dropReleased: 'DELETE FROM released WHERE queue_id = ?',
  addInbound: 'INSERT OR IGNORE INTO inbound (client_id, packet_id) VALUES (?, ?)',
  dropInbound: 'DELETE FROM inbound WHERE client_id = ? AND packet_id = ?',
  dropInboundOf: 'DELETE FROM inbound WHERE client_id = ?',
  putSession: 'INSERT INTO session (client_id, body) VALUES (?, ?) ON CONFLICT (client_id) DO UPDATE SET body = excluded.body',
  dropSession: 'DELETE FROM session WHERE client_id = ?',
  putRetained: 'INSERT INTO retained (topic, message) VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET message = excluded.message',
  dropRetained: 'DELETE FROM retained WHERE topic = ?',
} as const
