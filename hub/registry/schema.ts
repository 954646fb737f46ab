/**
 * The registry's tables. Each migration runs once, in order; a released one is never changed. Times are milliseconds
 * since the epoch.
 */
export const MIGRATIONS: readonly string[] = [
  `
CREATE TABLE tokens (
  jti TEXT PRIMARY KEY, namespace TEXT NOT NULL, service_account TEXT NOT NULL,
  created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, revoked_ms INTEGER, max_uses INTEGER
) STRICT;
CREATE TABLE token_uses (
  jti TEXT NOT NULL REFERENCES tokens (jti) ON DELETE CASCADE, key_id TEXT NOT NULL, used_ms INTEGER NOT NULL,
  PRIMARY KEY (jti, key_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE certificates (
  serial TEXT PRIMARY KEY, spiffe_uri TEXT NOT NULL, jti TEXT, ip TEXT NOT NULL, issued_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX certificates_by_identity ON certificates (spiffe_uri, ip, issued_ms);
CREATE INDEX certificates_by_end ON certificates (not_after_ms);
CREATE TABLE devices (
  name TEXT PRIMARY KEY, node_id TEXT NOT NULL, spiffe_uri TEXT NOT NULL,
  joined_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, last_ip TEXT NOT NULL, serial TEXT
) STRICT;
CREATE INDEX devices_by_identity ON devices (spiffe_uri, last_seen_ms);
`,
  // Names are bound to the token that a device joined with, and to the device: the keys that follow one another by
  // renewal.
  `
ALTER TABLE tokens ADD COLUMN nodes TEXT;
ALTER TABLE certificates ADD COLUMN device TEXT;
ALTER TABLE devices ADD COLUMN holder TEXT;
ALTER TABLE devices ADD COLUMN connected_ms INTEGER;
ALTER TABLE devices ADD COLUMN in_force TEXT;
ALTER TABLE devices ADD COLUMN in_force_ms INTEGER;
ALTER TABLE devices ADD COLUMN refused TEXT;
CREATE INDEX certificates_by_device ON certificates (device, issued_ms);
CREATE INDEX devices_by_holder ON devices (holder);
CREATE TABLE hub (only INTEGER PRIMARY KEY CHECK (only = 1), alive_ms INTEGER NOT NULL) STRICT;
`,
  // Devices with a key of their own. `chain` is what the last answer to a renewal said and the next one must repeat;
  // `resync`: whatever comes next is taken for it (after a restore, after an approval).
  `
ALTER TABLE tokens ADD COLUMN hash TEXT;
ALTER TABLE tokens ADD COLUMN cidrs TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tokens ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tokens ADD COLUMN approval INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificates ADD COLUMN revoked_ms INTEGER;
CREATE INDEX certificates_by_token ON certificates (jti);
CREATE TABLE enrollments (
  name TEXT PRIMARY KEY, key_id TEXT NOT NULL, namespace TEXT NOT NULL, service_account TEXT NOT NULL, jti TEXT,
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')), labels TEXT NOT NULL,
  counter INTEGER NOT NULL, chain TEXT NOT NULL, previous_chain TEXT NOT NULL, nonce TEXT NOT NULL, resync INTEGER NOT NULL,
  address TEXT NOT NULL, joined_ms INTEGER NOT NULL, renewed_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL,
  cloned_ms INTEGER, clone_addresses TEXT, revoked_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX enrollments_by_key ON enrollments (key_id);
CREATE INDEX enrollments_by_token ON enrollments (jti);
CREATE TABLE join_requests (
  name TEXT PRIMARY KEY, key_id TEXT NOT NULL, namespace TEXT NOT NULL, service_account TEXT NOT NULL, jti TEXT,
  labels TEXT NOT NULL, address TEXT NOT NULL, why TEXT NOT NULL, asked_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX join_requests_by_key ON join_requests (key_id);
CREATE TABLE audit (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, event TEXT NOT NULL, subject TEXT NOT NULL,
  address TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject, id);
`,
  // What devices say of themselves, and what has happened to them.
  `
CREATE TABLE reports (
  name TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, restarts INTEGER NOT NULL, expected TEXT NOT NULL, report TEXT NOT NULL
) STRICT;
CREATE TABLE report_history (
  name TEXT NOT NULL, step TEXT NOT NULL, at_ms INTEGER NOT NULL, connected INTEGER, connects INTEGER NOT NULL, rtt_ms INTEGER,
  bytes INTEGER NOT NULL, spool INTEGER NOT NULL, requests INTEGER NOT NULL, failures INTEGER NOT NULL, drops INTEGER NOT NULL,
  problems INTEGER NOT NULL, PRIMARY KEY (name, step, at_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX report_history_by_time ON report_history (step, at_ms);
CREATE TABLE device_events (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, device TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX device_events_by_device ON device_events (device, id);
`,
  // Several hubs on one registry: which live, who is connected to which, and whose CA it is.
  `
CREATE TABLE replicas (id TEXT PRIMARY KEY, started_ms INTEGER NOT NULL, alive_ms INTEGER NOT NULL) STRICT;
CREATE TABLE connections (
  name TEXT NOT NULL, replica TEXT NOT NULL, connected_ms INTEGER NOT NULL, PRIMARY KEY (name, replica)
) STRICT, WITHOUT ROWID;
CREATE INDEX connections_by_replica ON connections (replica);
CREATE TABLE authority (part TEXT PRIMARY KEY, fingerprint TEXT NOT NULL) STRICT;
DROP TABLE hub;
UPDATE devices SET connected_ms = NULL;
`,
  // The console: links that log in once, sessions, and who may see an entry of the audit log.
  `
CREATE TABLE console_links (hash TEXT PRIMARY KEY, operator TEXT NOT NULL, grants TEXT NOT NULL, ends_ms INTEGER NOT NULL) STRICT;
CREATE TABLE console_sessions (
  hash TEXT PRIMARY KEY, operator TEXT NOT NULL, name TEXT NOT NULL, via TEXT NOT NULL, grants TEXT NOT NULL, claims TEXT NOT NULL,
  created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, ends_ms INTEGER NOT NULL, address TEXT NOT NULL
) STRICT;
ALTER TABLE audit ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_by_namespace ON audit (namespace, id);
`,
  // Revisions of the configuration (hub/registry/rollout/revisions.ts), and how they come to devices (rollouts.ts).
  `
CREATE TABLE revisions (id TEXT PRIMARY KEY, taken_ms INTEGER NOT NULL, files INTEGER NOT NULL, resources INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
CREATE TABLE revision_blobs (hash TEXT NOT NULL, part INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (hash, part)) STRICT;
CREATE TABLE rollouts (id TEXT PRIMARY KEY, active INTEGER UNIQUE, started_ms INTEGER NOT NULL, sequence INTEGER NOT NULL, document TEXT NOT NULL) STRICT;
CREATE INDEX rollouts_by_start ON rollouts (started_ms);
CREATE TABLE rollout_devices (rollout TEXT NOT NULL, device TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (rollout, device)) STRICT;
CREATE TABLE rollout_state (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_ms INTEGER NOT NULL) STRICT;
`,
  // What operators ask of devices, and the answers; for minutes.
  `
CREATE TABLE device_commands (
  id TEXT PRIMARY KEY, device TEXT NOT NULL, request TEXT NOT NULL, asked_ms INTEGER NOT NULL,
  state TEXT NOT NULL, answer TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`,
  // Rollouts in the order in which they began: some begin in one millisecond, and clocks of hubs differ.
  `
ALTER TABLE rollouts ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
UPDATE rollouts SET place = (SELECT COUNT(*) FROM rollouts b WHERE b.started_ms < rollouts.started_ms OR (b.started_ms = rollouts.started_ms AND b.id <= rollouts.id));
DROP INDEX rollouts_by_start;
CREATE UNIQUE INDEX rollouts_by_place ON rollouts (place);
`,
  // Services and MQTT queues of a report, which only who asks for one device reads; and which reports are new.
  `
ALTER TABLE reports ADD COLUMN details TEXT NOT NULL DEFAULT '';
CREATE INDEX reports_by_time ON reports (at_ms);
`,
]
