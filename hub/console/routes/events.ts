/**
 * Server-sent events (WHATWG HTML §9.2): what changes, as it changes. A page that does not take what it is sent loses
 * its stream and asks again where it was.
 */
import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { detach, doNothing, guard } from '../../../core/defects/guard.ts'
import { MeshError } from '../../../core/errors.ts'
import { Tallies, Tally, takeLease } from '../../../core/lease.ts'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Operator } from '../access.ts'
import { filterEvent, type ConsoleEvent, type Events } from '../fleet/events.ts'
import type { Logins } from '../logins.ts'
import { stream } from '../schemas.ts'
import { ERRORS } from './parts.ts'

const HEARTBEAT_MS = 5_000
const MAX_STREAMS_PER_SESSION = 8
/** What may wait for a page that reads slowly. */
const MAX_WAITING_BYTES = 256 * 1024
const RETRY_MS = 2_000

export type EventRoutes = {
  readonly events: Events
  readonly logins: Logins
  readonly maxStreams: number
  readonly clock: Clock
  readonly metrics: Metrics
}

export function addEventRoutes(app: FastifyInstance, p: EventRoutes): void {
  const inAll = new Tally()
  const bySession = new Tallies<string>()
  const gauge = p.metrics.gauge('mesh_hub_console_streams', 'Pages of the console that are kept up to date.').cell({})
  const open = new Set<Stream>()
  app.addHook('onClose', async () => {
    for (const stream of open) stream.end()
  })
  app.get(
    '/api/v1/events',
    {
      config: { access: { of: 'some', role: 'viewer' }, produces: 'text/event-stream' },
      schema: { summary: 'What changes, as text/event-stream', response: { 200: stream, ...ERRORS } },
    },
    (request, reply) => {
      const { operator } = request
      const { hash } = operator!.session
      if (inAll.now >= p.maxStreams || bySession.of(hash) >= MAX_STREAMS_PER_SESSION)
        throw new MeshError(
          'MESH_CONTROL_SLOW_DOWN',
          `${MAX_STREAMS_PER_SESSION} pages of one session and ${p.maxStreams} in all (console.maxStreams) are kept up to date at once`,
        )
      const leases = new DisposableStack()
      leases.use(takeLease(inAll))
      leases.use(bySession.lease(hash))
      gauge.value = inAll.now
      const last = request.headers['last-event-id']
      reply.hijack()
      for (const [name, value] of Object.entries(reply.getHeaders())) reply.raw.setHeader(name, value as string)
      const stream = new Stream(reply.raw, operator!, p)
      open.add(stream)
      leases.defer(() => {
        open.delete(stream)
      })
      reply.raw.once(
        'close',
        guard('hub', doNothing, () => {
          stream.end()
          leases.dispose()
          gauge.value = inAll.now
        }),
      )
      stream.begin(typeof last === 'string' ? last.slice(0, 64) : undefined)
    },
  )
}

class Stream {
  readonly #response: ServerResponse
  readonly #operator: Operator
  readonly #p: EventRoutes
  #heartbeat: Timer | undefined
  #listening: Disposable | undefined
  #isOver = false

  constructor(response: ServerResponse, operator: Operator, p: EventRoutes) {
    this.#response = response
    this.#operator = operator
    this.#p = p
  }

  begin(lastEventId: string | undefined): void {
    // A proxy that gathers answers would keep everything back.
    this.#response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
    this.#write(`retry: ${RETRY_MS}\n\n`)
    this.#listening = this.#p.events.listen((event) => this.#send(event), lastEventId)
    this.#beatLater()
  }

  end(): void {
    this.#isOver = true
    this.#heartbeat?.cancel()
    this.#listening?.[Symbol.dispose]()
    this.#response.destroy()
  }

  #send(event: ConsoleEvent): void {
    const own = filterEvent(event, this.#operator)
    if (!own) return
    const { id, kind, ...rest } = own
    const data = withoutNamespaces(rest)
    this.#write(`id: ${this.#p.events.epoch}-${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  #write(text: string): void {
    if (this.#isOver) return
    this.#response.write(text)
    if (this.#response.writableLength > MAX_WAITING_BYTES) this.end()
  }

  #beatLater(): void {
    if (!this.#isOver) this.#heartbeat = this.#p.clock.after(HEARTBEAT_MS, this.#beat)
  }

  /** A session that was ended, or whose role is another now, hears no more. */
  readonly #beat = (): void => {
    detach('hub', this.#checkSession(), () => this.end())
  }
  async #checkSession(): Promise<void> {
    if (!(await this.#p.logins.isLive(this.#operator.session))) {
      this.#write('event: over\ndata: {}\n\n')
      this.#response.end()
      this.end()
      return
    }
    this.#write(': \n\n')
    this.#beatLater()
  }
}

/** Of devices that a page has, or had, it knows them. */
function withoutNamespaces(event: object): object {
  const toNames = (named: readonly { readonly name: string }[]): readonly string[] => named.map(({ name }) => name)
  return Object.fromEntries(
    Object.entries(event).map(([key, value]) => [
      key,
      key === 'removed' || key === 'devices' ? toNames(value as readonly { readonly name: string }[]) : value,
    ]),
  )
}
