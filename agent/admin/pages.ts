/** What the admin port shows, in Envoy's paths and shapes, so that istioctl and people's habits work. */
import { collectConfigDump } from '../../control-sync/config-dump.ts'
import { formatSentence, toMeshError } from '../../core/errors.ts'
import type { HttpUpstreams } from '../../protocols/http/message.ts'
import type { AdminHandler, AdminPage, AdminReply } from './server.ts'
import { index } from './server.ts'
import { listClusters, formatClustersAsJson, formatClusters } from './clusters-page.ts'
import { createMqttPages, formatMqtt } from './mqtt-pages.ts'
import type { Log } from '../../core/log.ts'
import type { StatusParts } from './status-parts.ts'
import { createSetAsidePages } from './set-aside-pages.ts'
import { formatStatus } from './status-text.ts'
import type { AgentStatus } from './status.ts'

export type AdminParts = StatusParts & {
  readonly upstreams: HttpUpstreams
  readonly log: Log
  status(): AgentStatus
  stop(reason: string): void
}

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']
/** Envoy's names for what pino calls otherwise. */
const ENVOY_LEVELS: Readonly<Record<string, string>> = { warning: 'warn', critical: 'fatal', off: 'silent' }

export function createAdminPages(p: AdminParts): ReadonlyMap<string, AdminPage> {
  const get = (help: string, handle: AdminHandler): AdminPage => ({ method: 'GET', help, handle })
  const post = (help: string, handle: AdminHandler): AdminPage => ({ method: 'POST', help, handle })
  const pages = new Map<string, AdminPage>([
    [
      '/ready',
      get(
        '200 LIVE when ready to serve, else 503 with what is missing (?detail: link, certificate, configuration)',
        (q) => ready(p, q.has('detail')),
      ),
    ],
    ['/live', get('200 while the process works', () => ({ body: 'LIVE\n' }))],
    [
      '/status',
      get('what the agent does and what is wrong (JSON; ?format=text)', (q) =>
        q.get('format') === 'text' ? { body: formatStatus(p.status()) } : json(p.status()),
      ),
    ],
    [
      '/config_dump',
      get('the configuration in force, as Envoy shows it', () =>
        json(
          collectConfigDump(p.configuration.applier.snapshot, {
            node: p.node.description,
            generation: p.configuration.applier.generation,
            identity: p.identity.current(),
          }),
        ),
      ),
    ],
    ['/clusters', get('clusters with their endpoints (?format=json)', (q) => clusters(p, q.get('format')))],
    ['/certs', get('the certificate in use', () => json(certs(p.status())))],
    ['/stats', get('counters, one a line', () => ({ body: statsText(p.metrics.text()) }))],
    [
      '/stats/prometheus',
      get('counters for Prometheus', () => ({ type: 'text/plain; version=0.0.4', body: p.metrics.text() })),
    ],
    ['/reload', post('reads agent.yaml again', () => reload(p))],
    ['/logging', post('?level=debug changes the log level', (q) => logging(p.log, q.get('level')))],
    ...createMqttPages(p.broker.operations),
    [
      '/drain',
      post('finish what is open, then stop', () => {
        p.stop('drain')
        return { body: 'draining\n' }
      }),
    ],
  ])
  pages.set('/quitquitquit', createEnd(p))
  for (const [path, page] of createSetAsidePages(p.spool)) pages.set(path, page)
  pages.set(
    '/',
    get('this page', () => ({
      body: `${formatStatus(p.status())}\n${formatMqtt(p.broker.operations, p.broker.stats)}\n${index(pages)}`,
    })),
  )
  return pages
}

/** By pilot-agent's name. */
const createEnd = (p: Pick<AdminParts, 'stop'>): AdminPage => ({
  method: 'POST',
  help: 'as /drain, by the name that a sidecar has for it; from this machine alone',
  onlyLocal: true,
  handle() {
    p.stop('quitquitquit')
    return { body: 'OK\n' }
  },
})

async function reload({ reloader }: AdminParts): Promise<AdminReply> {
  try {
    return json(await reloader.reload())
  } catch (thrown) {
    return { status: 409, body: `${formatSentence(toMeshError(thrown))}\nWhat was in force stays.\n` }
  }
}

function ready(p: AdminParts, inDetail: boolean): AdminReply {
  const detail = inDetail ? readyDetail(p.status()) : ''
  if (p.isDraining()) return { status: 503, body: `DRAINING\n${detail}` }
  return p.readiness.ready
    ? { body: `LIVE\n${detail}` }
    : { status: 503, body: `PRE_INITIALIZING: waiting for ${p.readiness.pending.join(', ')}\n${detail}` }
}

/** An agent without a link is ready: it serves from disk. How old that is, whoever asks decides upon. */
function readyDetail({ control, certificate, config }: AgentStatus): string {
  const seconds = (value: number | undefined): string => (value === undefined ? 'never' : `${value} s`)
  return [
    `link: ${control.link}`,
    `last contact: ${seconds(control.lastContactSec)}`,
    `configuration: generation ${config.generation}${config.stale ? ', stale' : ''}, changed ${seconds(config.ageSec)}`,
    ...Object.entries(config.changedSec).map(([kind, age]) => `${kind}: changed ${age} s`),
    `certificate: ${certificate ? `${certificate.expiresInSec} s left` : 'none'}`,
  ]
    .map((line) => `${line}\n`)
    .join('')
}

function clusters(p: AdminParts, format: string | null): AdminReply {
  const all = listClusters(p.upstreams.clusterStatus(), p.tables.get())
  return format === 'json' ? json(formatClustersAsJson(all)) : { body: formatClusters(all) }
}

function certs({ certificate }: AgentStatus): object {
  if (!certificate) return { certificates: [] }
  return {
    certificates: [
      {
        cert_chain: [
          {
            path: '<inline>',
            serial_number: certificate.serial,
            subject_alt_names: [{ uri: certificate.spiffeId }],
            expiration_time: certificate.notAfter,
            days_until_expiration: String(Math.max(0, Math.floor(certificate.expiresInSec / 86_400))),
          },
        ],
      },
    ],
  }
}

/** Envoy's form: `name{labels}: value`. */
function statsText(prometheus: string): string {
  return prometheus
    .split('\n')
    .filter((l) => l !== '' && !l.startsWith('#'))
    .map((l) => `${l.slice(0, l.lastIndexOf(' '))}: ${l.slice(l.lastIndexOf(' ') + 1)}\n`)
    .join('')
}

function logging(log: Log, asked: string | null): AdminReply {
  const level = ENVOY_LEVELS[asked ?? ''] ?? asked
  if (level === null || !LEVELS.includes(level))
    return { status: 400, body: `use ?level= with one of ${LEVELS.join(', ')}; it is ${log.level}\n` }
  log.level = level
  return { body: `level: ${level}\n` }
}

function json(value: unknown): AdminReply {
  return { type: 'application/json', body: `${JSON.stringify(value, null, 1)}\n` }
}
