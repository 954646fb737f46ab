/** Collectors of the mesh, and a way to them that a test answers. */
import { Current } from '../../../../core/current.ts'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import type { Collector } from '../../../../model/access-log/collector.ts'
import type { Tables } from '../../../../model/tables.ts'
import { Exporter, type ExporterOptions } from '../../../../protocols/telemetry/export/exporter.ts'
import type { Post } from '../../../../protocols/telemetry/export/offer.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'
import { cluster, tablesOf } from '../../http/harness.ts'

export const ZIPKIN: Collector = {
  cluster: 'origin',
  authority: 'z.test',
  path: '/api/v2/spans',
  headers: [],
  speaks: 'http',
  envelope: { kind: 'zipkin' },
}
export const OTLP: Collector = {
  cluster: 'origin',
  authority: 'c.test',
  path: '/Export',
  headers: ['a', 'b'],
  speaks: 'grpc',
  envelope: { kind: 'otlp', of: 'spans', resource: [['service.name', 'svc']] },
}

export type Answer = Awaited<ReturnType<Post>>
export const TAKEN: Answer = { status: 200, grpcStatus: '0' }
export const BUSY: Answer = { status: 503, grpcStatus: undefined }

export class Rig {
  readonly clock = new SimClock()
  readonly metrics = new Metrics()
  readonly tables = new Current<Tables>(tablesOf([cluster()]))
  readonly posts: Parameters<Post>[1][] = []
  readonly exporter: Exporter
  answer: () => Answer | Promise<Answer> = () => TAKEN

  constructor(disk?: ExporterOptions['disk']) {
    const { clock, metrics, tables } = this
    const sender = () => ({ nodeId: 'n', cluster: 'c', serviceName: 'own' })
    this.exporter = new Exporter({ clock, metrics, tables, log: silentLog, sender, disk })
    this.exporter.connect(async (_, request) => {
      this.posts.push(request)
      return await this.answer()
    })
  }
  /** Items of JSON. */
  send(...names: (string | number)[]): void {
    for (const name of names) this.exporter.send(ZIPKIN, 'spans', Buffer.from(JSON.stringify(String(name))))
  }
  names(post: number): string[] {
    return JSON.parse(this.posts[post]!.body.toString()) as string[]
  }
  get sent(): number {
    return this.metrics.total('mesh_tracing_spans_sent_total')
  }
  dropped(reason: string): number {
    return this.metrics.total('mesh_tracing_spans_dropped_total', { reason })
  }
  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
    await settle()
  }
}
