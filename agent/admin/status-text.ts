/** A status as plain text for a terminal. */
import { toPrintableAll } from '../../core/printable.ts'
import type { AgentStatus } from './status.ts'

type Row = readonly [name: string, value: string]

/** At most 100 columns; one fact a line, problems last with what to do. */
export function formatStatus(status: AgentStatus): string {
  const s = toPrintableAll(status)
  const waiting = s.waitingFor.length ? ` (waiting for: ${s.waitingFor.join(', ')})` : ''
  const rows = [
    describeLink(s),
    ...describeBytes(s),
    describeCertificate(s),
    ...describeConfiguration(s),
    ...describeListener(s),
    ...describeDns(s),
    ...describeWorkload(s),
    ...describeKeys(s),
    ...describeTraffic(s),
    ...describeBridge(s),
    ...describeSkipped(s),
  ]
  return [
    `meshlet ${s.version} · ${s.node} · ${s.state}${waiting} · up ${formatSpan(s.uptimeSec)}\n\n`,
    ...rows.map(([name, value]) => `${name.padEnd(14)}${value}\n`),
    `\n${conclude(s)}`,
  ].join('')
}

function describeLink({ control: c }: AgentStatus): Row {
  const isHeard = c.link === 'connected' || c.lastContactSec === undefined
  const contact = isHeard ? '' : `, last contact ${formatSpan(c.lastContactSec!)} ago`
  return ['link', `${c.mode} ${c.address}: ${c.link} for ${formatSpan(c.sinceSec)}${contact}`]
}

/** Over a relay; of gRPC, who counts bytes looks at the metrics. */
function describeBytes({ control: { rttMs, connections, bytes } }: AgentStatus): Row[] {
  // An agent of an earlier version says nothing of it.
  if (!connections) return []
  const rtt = rttMs === undefined ? '' : `, ${Math.round(rttMs)} ms there and back`
  const purposes = bytes.map((b) => `${b.purpose} ${size(b.sent)} out ${size(b.received)} in`)
  return [
    ['', `${connections} connections since the start${rtt}`],
    ['', purposes.join(' · ') || 'nothing said yet'],
  ]
}

function describeCertificate({ certificate: x }: AgentStatus): Row {
  if (!x) return ['certificate', 'none']
  const validity =
    x.expiresInSec > 0 ? `valid for ${formatSpan(x.expiresInSec)}` : `expired ${formatSpan(-x.expiresInSec)} ago`
  const renewal = x.renewalInSec === undefined ? '' : `, renewal in ${formatSpan(x.renewalInSec)}`
  return ['certificate', `${x.spiffeId}, ${validity}${renewal}`]
}

function describeConfiguration({ config }: AgentStatus): Row[] {
  const stale = config.stale ? ', from disk, not confirmed' : ''
  const age = config.ageSec === undefined ? ', nothing received yet' : `, changed ${formatSpan(config.ageSec)} ago`
  const resources = Object.entries(config.resources).map(([kind, n]) => `${n} ${kind}`)
  return [
    ['configuration', `generation ${config.generation}${stale}${age}`],
    ['', resources.join(' · ') || 'no resources'],
  ]
}

function describeListener({ listeners }: AgentStatus): Row[] {
  return listeners.map((l) => [
    'listener',
    `${l.name} ${l.address} ${l.state}, ${l.connections} connections${l.error ? `: ${l.error}` : ''}`,
  ])
}

function describeDns({ dns }: AgentStatus): Row[] {
  if (!dns) return []
  const names = dns.names === undefined ? 'no name table yet' : `${dns.names} names`
  const others = dns.upstreams.length ? `others from ${dns.upstreams.join(', ')}` : 'no upstream resolver'
  return [['dns', `${dns.address}, ${names}, ${dns.cached} answers cached, ${others}`]]
}

function describeWorkload({ workload }: AgentStatus): Row[] {
  if (!workload) return []
  const { probe, state, sinceSec, told } = workload
  return [
    ['workload', `${probe}: ${state} for ${formatSpan(sinceSec)}${told ? '' : ', not told to the control plane'}`],
  ]
}

function describeKeys({ keys }: AgentStatus): Row[] {
  return keys.map(({ url, keys: count, ageSec, error }) => {
    const age = ageSec === undefined ? '' : `, fetched ${formatSpan(ageSec)} ago`
    return ['keys', `${url}: ${count === 0 ? 'none' : `${count}${age}`}${error === undefined ? '' : `; ${error}`}`]
  })
}

function describeTraffic({ http, mqtt, spool }: AgentStatus): Row[] {
  return [
    [
      'http',
      `${http.requests} requests, ${http.retriesSent} safe retries, ${http.retriesHeldBack} held back, ${http.denied} denied`,
    ],
    ['mqtt', `${mqtt.connections} clients, ${mqtt.sessions} sessions, ${mqtt.retained} retained`],
    ['spool', `${spool.messages} messages, ${size(spool.bytes)} of ${size(spool.maxBytes)}, ${spool.profile}`],
    ...describeDamaged(spool),
    ...describeWear(spool),
  ]
}
/** Set aside in earlier runs, too: they take room until somebody deletes them. */
function describeDamaged({ damagedFiles, damagedBytes }: AgentStatus['spool']): Row[] {
  return damagedFiles === 0 ? [] : [['', `${damagedFiles} damaged files beside it at the start, ${size(damagedBytes)}`]]
}
function describeWear({ writtenPerDay: wear, profile }: AgentStatus['spool']): Row[] {
  if (!wear) return []
  return [['', `${size(wear.bytes)} a day to the disk with ${profile}, by the last ${formatSpan(wear.overSec)}`]]
}

function describeBridge({ bridge }: AgentStatus): Row[] {
  return bridge.map((b) => [
    'bridge',
    `${b.cluster}: ${b.state}, ${b.queued} queued, ${b.sent} sent, ${b.received} received${b.setAside > 0 ? `, ${b.setAside} set aside` : ''}${describeHosts(b.hosts)}${b.error ? `; ${b.error}` : ''}`,
  ])
}

function describeHosts(hosts: AgentStatus['bridge'][number]['hosts'] = []): string {
  return hosts
    .map(({ hostId, state, awaySec, held }) =>
      awaySec === undefined
        ? `; host ${hostId} ${state}`
        : `; host ${hostId} ${state} for ${formatSpan(awaySec)}, ${held} held`,
    )
    .join('')
}

function describeSkipped({ config }: AgentStatus): Row[] {
  return config.skipped.map((k, i) => [
    i === 0 ? 'left out' : '',
    `${k.what}: ${k.example}${k.resources > 1 ? ` and ${k.resources - 1} more` : ''}`,
  ])
}

function conclude({ problems, config }: AgentStatus): string {
  if (problems.length > 0) return problems.map((p) => `! ${p.code}: ${p.text}\n  ${p.remedy}\n`).join('')
  return config.skipped.length > 0
    ? 'No problem, but not all that the configuration asks for is done: see "left out".\n'
    : 'Nothing is wrong.\n'
}

/** 45 s · 12 min · 5 h 10 min · 3 d 4 h */
export function formatSpan(seconds: number): string {
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
