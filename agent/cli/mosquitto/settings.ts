/** Global options of mosquitto.conf as settings of `mqtt`. */
import path from 'node:path'
import type { Blocks } from './blocks.ts'
import { splitWords, type Line } from './read.ts'
import { LOG } from './options.ts'
import type { Report } from './report.ts'

export type Settings = {
  passwordFile: string | undefined
  pskFile: string | undefined
  aclFile: string | undefined
  clientIdPrefix: string | undefined
  certificateUser: 'cn' | 'subject' | undefined
  sysIntervalSec: number | undefined
  isRetainAvailable: boolean
  logsToTopics: boolean
  queuesQos0: boolean
  upgradesQos: boolean
  maxQueuedMemoryBytes: number | undefined
  readonly limits: Record<string, unknown>
}

const NEVER_SEC = 0xffff_ffff
const MAX_PACKET_BYTES = 268_435_460
const DAY_SEC = 24 * 3600
const UNIT_SEC: Readonly<Record<string, number>> = {
  h: 3600,
  d: DAY_SEC,
  w: 7 * DAY_SEC,
  m: 30 * DAY_SEC,
  y: 365 * DAY_SEC,
}

export function convertSettings({ global, listeners, isPerListener }: Blocks, report: Report): Settings {
  const settings: Settings = {
    passwordFile: undefined,
    pskFile: undefined,
    aclFile: undefined,
    clientIdPrefix: undefined,
    certificateUser: undefined,
    sysIntervalSec: undefined,
    isRetainAvailable: true,
    logsToTopics: false,
    queuesQos0: false,
    upgradesQos: false,
    maxQueuedMemoryBytes: undefined,
    // mosquitto's sessions never expire where nothing says so.
    limits: { maxSessionExpirySec: NEVER_SEC },
  }
  for (const line of global) convertOne(line, settings, report)
  if (isPerListener)
    for (const { lines } of listeners)
      for (const line of lines) if (USER_FILES.has(line.name)) oneFile(line, settings, report)
  return settings
}

/** Of users, who are those of the node; acl files are of their listeners. */
const USER_FILES = new Set(['password_file', 'psk_file'])
const FILES = { password_file: 'passwordFile', psk_file: 'pskFile', acl_file: 'aclFile' } as const
function oneFile(line: Line, settings: Settings, report: Report): void {
  const at = FILES[line.name as keyof typeof FILES]
  const file = resolveFile(line, report)
  if (settings[at] === undefined || settings[at] === file) settings[at] = file
  else report.left(line, `the node has one ${at}, for all listeners: put what is in ${line.value} into ${settings[at]}`)
}

/** One that is left out would let more in: what cannot be found later lets in nobody. */
export function resolveFile(line: Line, report: Report): string {
  if (line.value.startsWith('/')) return line.value
  const file = path.resolve(path.dirname(line.file), line.value)
  report.left(line, `must be an absolute path: ${file} was written`)
  return file
}

function convertOne(line: Line, settings: Settings, report: Report): void {
  const { limits } = settings
  // Neither of them takes more, so it is no bound.
  const positive = (setting: string, most: number): void => {
    const value = report.number(line)
    limits[setting] = value <= 0 ? most : Math.min(most, value)
  }
  switch (line.name) {
    case 'password_file':
    case 'psk_file':
    case 'acl_file':
      oneFile(line, settings, report)
      return
    case 'clientid_prefixes':
      settings.clientIdPrefix = line.value
      return
    case 'global_max_connections':
    case 'global_max_clients':
      if (report.number(line) > 0) limits['maxConnections'] = report.number(line)
      return
    case 'queue_qos0_messages':
    case 'upgrade_outgoing_qos':
    case 'retain_available':
      turn(line, settings, report)
      return
    case 'max_inflight_messages':
      positive('maxInflight', 65_535)
      return
    case 'max_keepalive':
      positive('maxKeepAliveSec', 65_535)
      return
    case 'max_packet_size':
      positive('maxPacketBytes', MAX_PACKET_BYTES)
      return
    case 'message_size_limit':
      if (report.number(line) <= 0) return
      limits['maxPacketBytes'] = Math.min(MAX_PACKET_BYTES, report.number(line) + 65_536)
      report.same(line, 'a client that sends more is disconnected, where mosquitto drops the message')
      return
    case 'max_inflight_bytes':
    case 'max_queued_messages':
    case 'max_queued_bytes':
      bound(line, settings, report)
      return
    case 'memory_limit':
      if (report.number(line) > 0) settings.maxQueuedMemoryBytes = report.number(line)
      return
    case 'persistent_client_expiration':
      limits['maxSessionExpirySec'] = secondsOf(line, report) ?? NEVER_SEC
      return
    case 'log_dest':
      if (splitWords(line.value)[0] === 'topic') settings.logsToTopics = true
      else report.same(line, LOG)
      return
    case 'sys_interval':
      settings.sysIntervalSec = Math.min(65_535, Math.max(0, report.number(line)))
      return
    default: // allow_anonymous and per_listener_settings: listeners.ts
  }
}

const SWITCHES = {
  queue_qos0_messages: { at: 'queuesQos0', ours: false },
  upgrade_outgoing_qos: { at: 'upgradesQos', ours: false },
  retain_available: { at: 'isRetainAvailable', ours: true },
} as const
function turn(line: Line, settings: Settings, report: Report): void {
  const { at, ours } = SWITCHES[line.name as keyof typeof SWITCHES]
  settings[at] = report.bool(line)
  if (settings[at] === ours) report.same(line, 'it is so here')
}

const QUEUES = '0 is no bound in mosquitto; here mqtt.spool bounds all queues together, and'
const BOUNDS = {
  max_inflight_bytes: { at: 'maxInflightBytes', without: 'it is no bound' },
  max_queued_messages: { at: 'maxQueuedMessages', without: `${QUEUES} maxQueuedMessages one` },
  max_queued_bytes: { at: 'maxQueuedBytes', without: `${QUEUES} maxQueuedBytes one` },
} as const
function bound(line: Line, { limits }: Settings, report: Report): void {
  const { at, without } = BOUNDS[line.name as keyof typeof BOUNDS]
  const value = report.number(line)
  if (value > 0) limits[at] = value
  else report.same(line, without)
}

function secondsOf(line: Line, report: Report): number | undefined {
  const [, count, unit] = /^(\d+)([hdwmy])$/.exec(splitWords(line.value)[0] ?? '') ?? []
  if (count === undefined) return report.left(line, 'must be a number with h, d, w, m or y behind it')
  return Math.min(NEVER_SEC, Number(count) * UNIT_SEC[unit!]!)
}
