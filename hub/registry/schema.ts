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
]
