/** What a person wants to know of a running agent; /status serves it, `meshlet status` prints it. */
import { printableAll } from '../../core/printable.ts'
import type { WorkloadHealth } from '../../model/readiness-probe.ts'

export type Problem = { readonly code: string; readonly text: string; readonly remedy: string }

export type AgentStatus = {
  readonly version: string
  readonly node: string
  readonly state: 'starting' | 'ready' | 'draining'
  /** Latches that are still held, in words. */
  readonly waitingFor: readonly string[]
  readonly uptimeSec: number
  readonly control: {
    readonly mode: 'control plane' | 'directory'
    readonly address: string
    readonly link: 'connected' | 'connecting' | 'waiting' | 'watching'
    readonly sinceSec: number
    /** Taken away by the control plane, and serving on for a while (control.shrinkHoldMs). */
    readonly heldClusters: number
    /** Seconds since anything came from the control plane, earlier runs included; undefined = never. */
    readonly lastContactSec: number | undefined
  }
  readonly certificate:
    | {
        readonly spiffeId: string
        readonly serial: string
        readonly notAfter: string
        readonly expiresInSec: number
        readonly renewalInSec: number | undefined
      }
    | undefined
  readonly config: {
    readonly generation: number
    readonly stale: boolean
    /** Seconds since the last push was applied; undefined = nothing yet. */
    readonly ageSec: number | undefined
    /** Seconds since the last change, by kind. */
    readonly changedSec: Readonly<Record<string, number>>
    readonly resources: Readonly<Record<string, number>>
    /** `blocked`: in force, but for the pieces with these issues, which refuse; else the version before serves on. */
    readonly rejected: readonly {
      readonly kind: string
      readonly name: string
      readonly blocked: boolean
      readonly issues: readonly string[]
    }[]
    readonly ignoredFields: number
    /**
     * The same by field, most frequent first: what was received and is not acted upon, e.g.
     * `filter_chains[].filters[].typed_config.tracing`.
     */
    readonly ignored: readonly { readonly field: string; readonly resources: number; readonly example: string }[]
    /**
     * What is asked for and left out, in words, of most resources first: e.g. `requests are not mirrored
     * (request_mirror_policies)`.
     */
    readonly skipped: readonly { readonly what: string; readonly resources: number; readonly example: string }[]
  }
  /** Undefined without a readinessProbe. `told`: the control plane hears of it. */
  readonly workload:
    | {
        readonly probe: string
        readonly state: WorkloadHealth['state']
        readonly reason: string | undefined
        readonly sinceSec: number
        readonly told: boolean
      }
    | undefined
  readonly listeners: readonly {
    readonly name: string
    readonly address: string
    readonly state: 'listening' | 'failed' | 'draining'
    readonly connections: number
    readonly error: string | undefined
  }[]
  /** Undefined when agent.yaml has no `dns`. `names`: hosts in the mesh's name table, undefined before the first. */
  readonly dns:
    | {
        readonly address: string
        readonly names: number | undefined
        readonly cached: number
        readonly upstreams: readonly string[]
      }
    | undefined
  readonly http: {
    readonly requests: number
    readonly retriesSent: number
    readonly retriesHeldBack: number
    readonly denied: number
  }
  readonly mqtt: { readonly connections: number; readonly sessions: number; readonly retained: number }
  readonly spool: {
    readonly profile: string
    readonly messages: number
    readonly bytes: number
    readonly maxBytes: number
  }
  readonly bridge: readonly {
    readonly cluster: string
    readonly state: string
    readonly queued: number
    readonly sent: number
    readonly received: number
    readonly error: string | undefined
  }[]
  /** Everything that is wrong now, worst first. */
  readonly problems: readonly Problem[]
}

/** Plain text for a terminal, at most 100 columns; one fact a line, problems last with what to do. */
export function statusText(status: AgentStatus): string {
  const s = printableAll(status)
  const row = (name: string, value: string): string => `${name.padEnd(14)}${value}\n`
  const { control: c, certificate: x, config } = s
  let out = `meshlet ${s.version} · ${s.node} · ${s.state}${s.waitingFor.length ? ` (waiting for: ${s.waitingFor.join(', ')})` : ''} · up ${span(s.uptimeSec)}\n\n`
  out += row(
    'link',
    `${c.mode} ${c.address}: ${c.link} for ${span(c.sinceSec)}${c.link === 'connected' || c.lastContactSec === undefined ? '' : `, last contact ${span(c.lastContactSec)} ago`}`,
  )
  out += row(
    'certificate',
    x
      ? `${x.spiffeId}, ${x.expiresInSec > 0 ? `valid for ${span(x.expiresInSec)}` : `expired ${span(-x.expiresInSec)} ago`}${x.renewalInSec === undefined ? '' : `, renewal in ${span(x.renewalInSec)}`}`
      : 'none',
  )
  out += row(
    'configuration',
    `generation ${config.generation}${config.stale ? ', from disk, not confirmed' : ''}${config.ageSec === undefined ? ', nothing received yet' : `, changed ${span(config.ageSec)} ago`}`,
  )
  out += row(
    '',
    Object.entries(config.resources)
      .map(([kind, n]) => `${n} ${kind}`)
      .join(' · ') || 'no resources',
  )
  for (const l of s.listeners)
    out += row(
      'listener',
      `${l.name} ${l.address} ${l.state}, ${l.connections} connections${l.error ? `: ${l.error}` : ''}`,
    )
  if (s.dns)
    out += row(
      'dns',
      `${s.dns.address}, ${s.dns.names === undefined ? 'no name table yet' : `${s.dns.names} names`}, ${s.dns.cached} answers cached, ${s.dns.upstreams.length ? `others from ${s.dns.upstreams.join(', ')}` : 'no upstream resolver'}`,
    )
  if (s.workload)
    out += row(
      'workload',
      `${s.workload.probe}: ${s.workload.state} for ${span(s.workload.sinceSec)}${s.workload.told ? '' : ', not told to the control plane'}`,
    )
  out += row(
    'http',
    `${s.http.requests} requests, ${s.http.retriesSent} safe retries, ${s.http.retriesHeldBack} held back, ${s.http.denied} denied`,
  )
  out += row('mqtt', `${s.mqtt.connections} clients, ${s.mqtt.sessions} sessions, ${s.mqtt.retained} retained`)
  out += row(
    'spool',
    `${s.spool.messages} messages, ${size(s.spool.bytes)} of ${size(s.spool.maxBytes)}, ${s.spool.profile}`,
  )
  for (const b of s.bridge)
    out += row(
      'bridge',
      `${b.cluster}: ${b.state}, ${b.queued} queued, ${b.sent} sent, ${b.received} received${b.error ? `; ${b.error}` : ''}`,
    )
  for (const [i, k] of config.skipped.entries())
    out += row(
      i === 0 ? 'left out' : '',
      `${k.what}: ${k.example}${k.resources > 1 ? ` and ${k.resources - 1} more` : ''}`,
    )
  if (s.problems.length === 0 && config.skipped.length > 0)
    return `${out}\nNo problem, but not all that the configuration asks for is done: see "left out".\n`
  if (s.problems.length === 0) return `${out}\nNothing is wrong.\n`
  return `${out}\n${s.problems.map((p) => `! ${p.code}: ${p.text}\n  ${p.remedy}\n`).join('')}`
}

/** 45 s · 12 min · 5 h 10 min · 3 d 4 h */
export function span(seconds: number): string {
  const s = Math.round(Math.abs(seconds))
  if (s < 100) return `${s} s`
  const min = Math.round(s / 60)
  if (min < 100) return `${min} min`
  const h = Math.floor(min / 60)
  if (h < 48) return `${h} h${min % 60 ? ` ${min % 60} min` : ''}`
  return `${Math.floor(h / 24)} d${h % 24 ? ` ${h % 24} h` : ''}`
}

function size(bytes: number): string {
  if (bytes < 10_000) return `${bytes} B`
  if (bytes < 10_000_000) return `${(bytes / 1024).toFixed(0)} KiB`
  return `${(bytes / 1024 / 1024).toFixed(0)} MiB`
}
