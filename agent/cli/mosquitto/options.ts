/**
 * All options of mosquitto.conf(5), mosquitto 1.6 to 2.1: the section that an option belongs to, and for options that
 * need no counterpart or have none here, the reason. The others are handled by bridges.ts, listeners.ts and
 * settings.ts.
 */

export type Scope = 'global' | 'listener' | 'security' | 'bridge'

/** Written into agent.yaml where mosquitto.conf has them. `security`: of a listener with per_listener_settings. */
export const TAKEN: Readonly<Record<string, Scope>> = {
  acl_file: 'security',
  allow_anonymous: 'security',
  allow_zero_length_clientid: 'security',
  listener_allow_anonymous: 'security',
  password_file: 'security',
  psk_file: 'security',
  clientid_prefixes: 'global',
  global_max_connections: 'global',
  global_max_clients: 'global',
  max_inflight_messages: 'global',
  max_inflight_bytes: 'global',
  upgrade_outgoing_qos: 'global',
  max_keepalive: 'global',
  max_packet_size: 'global',
  message_size_limit: 'global',
  max_queued_messages: 'global',
  max_queued_bytes: 'global',
  memory_limit: 'global',
  persistent_client_expiration: 'global',
  queue_qos0_messages: 'global',
  sys_interval: 'global',
  log_dest: 'global',
  websockets_origin: 'listener',
  per_listener_settings: 'global',
  port: 'listener',
  bind_address: 'listener',
  protocol: 'listener',
  max_connections: 'listener',
  max_topic_alias: 'listener',
  use_identity_as_username: 'listener',
  use_subject_as_username: 'listener',
  cafile: 'listener',
  certfile: 'listener',
  keyfile: 'listener',
  require_certificate: 'listener',
  bind_interface: 'listener',
  capath: 'listener',
  crlfile: 'listener',
  mount_point: 'listener',
  psk_hint: 'listener',
  max_qos: 'listener',
  maximum_qos: 'listener',
  ciphers: 'listener',
  tls_version: 'listener',
  accept_protocol_versions: 'listener',
  retain_available: 'global',
  socket_domain: 'listener',
  address: 'bridge',
  addresses: 'bridge',
  topic: 'bridge',
  remote_clientid: 'bridge',
  clientid: 'bridge',
  remote_username: 'bridge',
  username: 'bridge',
  remote_password: 'bridge',
  password: 'bridge',
  keepalive_interval: 'bridge',
  start_type: 'bridge',
  threshold: 'bridge',
  idle_timeout: 'bridge',
  restart_timeout: 'bridge',
  notifications: 'bridge',
  notifications_local_only: 'bridge',
  notification_topic: 'bridge',
  bridge_protocol_version: 'bridge',
  bridge_outgoing_retain: 'bridge',
  bridge_receive_maximum: 'bridge',
  bridge_max_packet_size: 'bridge',
  cleansession: 'bridge',
  round_robin: 'bridge',
  bridge_bind_address: 'bridge',
  bridge_cafile: 'bridge',
  bridge_capath: 'bridge',
  bridge_identity: 'bridge',
  bridge_psk: 'bridge',
  bridge_certfile: 'bridge',
  bridge_keyfile: 'bridge',
  bridge_insecure: 'bridge',
  bridge_alpn: 'bridge',
  bridge_tls_version: 'bridge',
  bridge_tls_use_os_certs: 'bridge',
}

const SPOOL = 'what was acknowledged is on the disk always (mqtt.spool), there is nothing to switch on'
export const LOG =
  'meshlet logs JSON lines to standard output, which the journal keeps; the level is changed with /logging on the admin port'
const INCLUDED = 'only the main file includes others: mosquitto passes over it, too'
const UNIT = 'the systemd unit says it'
const CIRCLES = 'circles of bridges are ended by No Local and a count of hops (mqtt.bridges[].maxHops)'
/** Nothing is to be written for them. */
export const SAME: Readonly<Record<string, string>> = {
  allow_duplicate_messages: 'a session gets a message once, as MQTT 5.0 §3.3.4 permits',
  autosave_interval: SPOOL,
  autosave_on_changes: SPOOL,
  persistence: SPOOL,
  retained_persistence: SPOOL,
  persistence_file: SPOOL,
  persistence_location: 'the state folder is `state`',
  auto_id_prefix: 'client ids that the broker assigns begin with the name of the node and cannot be guessed',
  listener_auto_id_prefix: 'client ids that the broker assigns begin with the name of the node and cannot be guessed',
  connection_messages: 'connects and disconnects are in the log with their reason (mqtt.connected, mqtt.disconnected)',
  log_facility: LOG,
  log_timestamp: LOG,
  log_timestamp_format: LOG,
  log_type: LOG,
  websockets_log_level: LOG,
  pid_file: UNIT,
  user: UNIT,
  daemon: UNIT,
  retry_interval: 'mosquitto has no such option any more',
  set_tcp_nodelay: 'messages wait for nothing',
  store_clean_interval: 'room is given back at once',
  websockets_headers_size: 'limits.maxHeaderBytes bounds them',
  try_private: CIRCLES,
  bridge_attempt_unsubscribe: 'routes that went are unsubscribed from',
  bridge_tcp_keepalive: 'PINGREQ finds dead connections (mqtt.bridges[].keepAliveSec)',
  bridge_tcp_user_timeout: 'PINGREQ finds dead connections (mqtt.bridges[].keepAliveSec)',
  bridge_reload_type: 'changes of routes take effect at once and keep the queue',
  bridge_max_topic_alias: 'topic aliases are used where the upstream broker takes them',
  bridge_session_expiry_interval: 'the upstream session is asked to be kept',
  local_clientid: 'the bridge has no local session: its messages wait in the spool',
  local_cleansession: 'the bridge has no local session: its messages wait in the spool',
  local_username: 'the bridge has no local session',
  local_password: 'the bridge has no local session',
  include_dir: INCLUDED,
  dhparamfile: 'ECDHE is used, which needs none',
}

const PLUGIN = 'plugins are not loaded: users are mqtt.users, permissions mqtt.rules or mqtt.aclFile'
const CIPHERS = 'the ciphers of OpenSSL’s default level are used'
const ENGINE = 'OpenSSL engines are not loaded: use a key in a file'
/** They change what mosquitto does and have nothing here; with what to do. */
export const LEFT: Readonly<Record<string, string>> = {
  auth_plugin: PLUGIN,
  auth_plugin_deny_special_chars: PLUGIN,
  plugin: PLUGIN,
  plugin_load: PLUGIN,
  plugin_use: PLUGIN,
  global_plugin: PLUGIN,
  'ciphers_tls1.3': CIPHERS,
  check_retain_source:
    'a retained message stays when its publisher loses the right to it: remove it with `meshlet mqtt purge`',
  disable_client_cert_date_checks: 'what goes on at a wrong clock is identity.expired',
  enable_proxy_protocol:
    'name the proxies that are trusted: listeners[].proxyProtocol.trusted; clientCertificate there stands for use_identity_as_username',
  enable_proxy_protocol_v2_require_tls: 'listeners[].proxyProtocol.requireTls, beside the proxies that are trusted',
  enable_control_api: '$CONTROL is not offered: what it changes is in agent.yaml, which is taken while the agent runs',
  http_dir: 'no files are served',
  max_topic_alias_broker: 'aliases towards clients are used as those allow',
  retain_expiry_interval: 'retained messages have the expiry that their publisher gives them',
  tls_engine: ENGINE,
  tls_engine_kpass_sha1: ENGINE,
  tls_keyform: ENGINE,
  use_username_as_clientid:
    'client ids are what clients say: the sessions of a user stay apart from those of others, and mqtt.rules knows both',
  bridge_ciphers: CIPHERS,
  'bridge_ciphers_tls1.3': CIPHERS,
  bridge_require_ocsp: 'OCSP is not asked',
}
const LEFT_PREFIXES = ['auth_opt_', 'plugin_opt_']

export function findReasonLeft(name: string): string | undefined {
  return LEFT_PREFIXES.some((prefix) => name.startsWith(prefix)) ? PLUGIN : LEFT[name]
}
/** Options whose default is what meshlet does: only the other value is left. */
export const DEFAULTS: Readonly<Record<string, readonly string[]>> = {
  check_retain_source: ['false'],
  use_username_as_clientid: ['false'],
  disable_client_cert_date_checks: ['false'],
  enable_control_api: ['false'],
  enable_proxy_protocol: ['0', 'false'],
  bridge_require_ocsp: ['false'],
}
