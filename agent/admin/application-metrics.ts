/**
 * Metrics of applications behind our own, as pilot-agent merges them on 15020: one scrape gets all of a node. What an
 * application does not give in time is left out, and counted; our own are there in any case.
 */
import type http from 'node:http'
import { createRequire } from 'node:module'
import { guard } from '../../core/defects/guard.ts'
import { toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Cell, Metrics } from '../../core/metrics.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { Network } from '../../core/os/network.ts'
import type { AdminPage } from './server.ts'

/** prometheus.io/port and prometheus.io/path of one of them. */
export type ApplicationMetrics = { readonly port: number; readonly path: string }

/** Prometheus waits 10 s by default, for all of them. */
export const SCRAPE_MS = 3_000
export const MAX_PAGE_BYTES = 4 * 1024 * 1024
/** The text format, which can be put together; OpenMetrics has an end. */
const ACCEPT = 'text/plain;version=0.0.4'

export type MergeParts = {
  readonly applications: readonly ApplicationMetrics[]
  readonly network: Network
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log: Log
}

/** @param own our own metrics */
export function mergeMetrics(own: AdminPage, parts: MergeParts): AdminPage {
  const { applications, metrics } = parts
  if (applications.length === 0) return own
  const scrapes = metrics
    .counter(
      'mesh_telemetry_application_scrapes_total',
      'Times that metrics of an application were asked for (telemetry.applications), by what came of it.',
      ['result'],
    )
    .cells(['ok', 'failed'])
  return {
    ...own,
    async handle(query) {
      const all = await Promise.all(applications.map((one) => scrape(one, parts, scrapes)))
      const reply = await own.handle(query)
      return { ...reply, body: reply.body + all.join('') }
    },
  }
}

async function scrape(
  application: ApplicationMetrics,
  { network, clock, log }: MergeParts,
  scrapes: Readonly<Record<'ok' | 'failed', Cell>>,
): Promise<string> {
  const late = new AbortController()
  const timer = clock.after(
    SCRAPE_MS,
    guard(
      'admin',
      () => {},
      () => late.abort(new Error(`no answer within ${SCRAPE_MS} ms`)),
    ),
  )
  try {
    const text = await ask(application, network, late.signal)
    scrapes.ok.value++
    return toWholeLines(text)
  } catch (thrown) {
    scrapes.failed.value++
    const err = toMeshError(thrown)
    log.warn({ evt: 'telemetry.application', ...application, err }, 'metrics of an application are missing')
    return ''
  } finally {
    timer.cancel()
  }
}

/** Rejects where it does not answer with 200, in time and within bounds. */
async function ask({ port, path }: ApplicationMetrics, network: Network, signal: AbortSignal): Promise<string> {
  const { stream } = await network.dial({ host: '127.0.0.1', port }, signal)
  try {
    const { request } = createRequire(import.meta.url)('node:http') as typeof http
    return await new Promise((resolve, reject) => {
      const asked = request(
        { path, host: '127.0.0.1', port, headers: { accept: ACCEPT }, createConnection: () => stream, signal },
        guard('admin', reject, (answer: http.IncomingMessage) => {
          if (answer.statusCode === 200) readBody(answer, resolve, reject)
          else reject(new Error(`the status is ${answer.statusCode}`))
        }),
      )
      asked.on(
        'error',
        guard('admin', reject, (err: Error) => reject(signal.aborted ? signal.reason : err)),
      )
      asked.end()
    })
  } finally {
    stream.destroy()
  }
}

function readBody(answer: http.IncomingMessage, resolve: (text: string) => void, reject: (err: Error) => void): void {
  const chunks: Buffer[] = []
  let bytes = 0
  answer.on(
    'data',
    guard('admin', reject, (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > MAX_PAGE_BYTES) reject(new Error(`its page has more than ${MAX_PAGE_BYTES} bytes`))
      else chunks.push(chunk)
    }),
  )
  answer.on(
    'end',
    guard('admin', reject, () => resolve(Buffer.concat(chunks).toString('utf8'))),
  )
  answer.on('error', guard('admin', reject, reject))
  answer.on(
    'close',
    guard('admin', reject, () => reject(new Error('its answer was cut off'))),
  )
}

/** The end of OpenMetrics would end ours, too. */
function toWholeLines(text: string): string {
  const lines = text.replace(/^# EOF\s*$/m, '')
  return lines === '' || lines.endsWith('\n') ? lines : `${lines}\n`
}
